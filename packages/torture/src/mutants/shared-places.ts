import { methodsOf, patchModule } from "./patch-module.js";

// Sealed ids take the places of outcomes: whoever seals many deletes the outcomes of all others.
patchModule(
  (request) => request.endsWith("/outcome.js"),
  (exports: Record<string, unknown>) => {
    if (typeof exports["isSealedOutcome"] !== "function")
      throw new Error("this mutant is out of date: no isSealedOutcome");
    return { ...exports, isSealedOutcome: () => false };
  },
);
patchModule(
  (request) => request.endsWith("/seal-count.js"),
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "SealCount", "in");
    Object.assign(methods, { in: () => Promise.resolve(0) });
    return undefined;
  },
);
