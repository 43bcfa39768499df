import { methodsOf, patchModule } from "./patch-module.js";

interface Reading {
  done(): void;
}
type Read = (this: object) => Reading;

const ONE_IN = 8;
const OLDEST_MS = 100;
const LONGEST_LOOK_MS = 2000;
let count = 0;
let kept: { readonly reading: Reading; readonly since: number } | undefined;

// One read in eight gets the state of up to 100 ms ago.
patchModule(
  (request) => request === "./environment.js",
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "Environment", "read");
    const read = methods["read"] as Read;
    const changed: Read = function () {
      if (++count % ONE_IN !== 0) return read.call(this);
      if (!kept || performance.now() - kept.since > OLDEST_MS) {
        const before = kept?.reading;
        // Reads in progress may still use it.
        if (before)
          setTimeout(() => {
            before.done();
          }, LONGEST_LOOK_MS).unref();
        kept = { reading: read.call(this), since: performance.now() };
      }
      return { ...kept.reading, done: () => undefined };
    };
    Object.assign(methods, { read: changed });
    return undefined;
  },
);
