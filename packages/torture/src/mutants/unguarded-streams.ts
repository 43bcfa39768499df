import { patchModule } from "./patch-module.js";

// Nothing limits what the streams of a server hold.
patchModule(
  (request) => request === "./rpc/stream-guard.js",
  (exports: { readonly StreamGuard?: { readonly prototype: { guard: () => number } } }) => {
    if (!exports.StreamGuard) throw new Error("this mutant is out of date: there is no StreamGuard");
    exports.StreamGuard.prototype.guard = () => 1;
    return exports;
  },
);
