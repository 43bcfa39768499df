import { patchModule } from "./patch-module.js";

interface Rows {
  soundValue: (key: unknown, row: { readonly value: Uint8Array }) => Uint8Array;
}

// What is stored is served as it is, whatever its checksum says.
patchModule(
  (request, from) => request.endsWith("/row.js") && from.includes("core"),
  (exports: Rows) => {
    if (typeof exports.soundValue !== "function") throw new Error("this mutant is out of date: there is no soundValue");
    exports.soundValue = (_key, { value }) => value;
    return undefined;
  },
);
