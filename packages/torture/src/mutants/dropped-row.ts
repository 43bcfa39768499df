import { methodsOf, patchModule } from "./patch-module.js";

type Apply = (this: object, edits: readonly unknown[], ...rest: unknown[]) => unknown;

const ONE_IN = 10;
let count = 0;

// One operation in ten leaves out its last record. The manifests agree with what is stored. A daemon that is killed starts to count
// again, and on a busy machine it lives for a few dozen operations.
patchModule(
  (request) => request === "./commit/committer.js",
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "Committer", "apply");
    const apply = methods["apply"] as Apply;
    const changed: Apply = function (edits, ...rest) {
      const isTorn = edits.length > 1 && ++count % ONE_IN === 0;
      return apply.call(this, isTorn ? edits.slice(0, -1) : edits, ...rest);
    };
    Object.assign(methods, { apply: changed });
    return undefined;
  },
);
