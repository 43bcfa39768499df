import { methodsOf, patchModule } from "./patch-module.js";

// After a failed write it tells those in the group, and goes on with the same environment.
patchModule(
  (request, from) => request === "./group-writer.js" && from.endsWith("lmdb-engine.js"),
  (exports: Record<string, unknown>) => {
    Object.assign(methodsOf(exports, "GroupWriter", "stop"), { stop: () => undefined });
    return undefined;
  },
);
