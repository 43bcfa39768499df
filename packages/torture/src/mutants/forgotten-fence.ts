import { patchModule } from "./patch-module.js";

type ExpectationsOf = (mutation: object, ...rest: unknown[]) => unknown;

// Fence tokens are not compared: a writer that was replaced can still write.
patchModule(
  (request, from) => request === "./expectations.js" && from.includes("/commit/"),
  (exports: { readonly expectationsOf?: ExpectationsOf }) => {
    const { expectationsOf } = exports;
    if (!expectationsOf) throw new Error("this mutant is out of date: there is no expectationsOf");
    const changed: ExpectationsOf = (mutation, ...rest) =>
      expectationsOf({ ...mutation, expectedFenceToken: undefined }, ...rest);
    return { ...exports, expectationsOf: changed };
  },
);
