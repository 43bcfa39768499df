import { methodsOf, patchModule } from "./patch-module.js";

// After a failed write the batches of the group get their error, and the store continues with the same environment.
patchModule(
  (request, from) => request === "./commit/group-commit.js" && from.includes("core"),
  (exports: Record<string, unknown>) => {
    Object.assign(methodsOf(exports, "GroupCommit", "stop"), { stop: () => undefined });
    return undefined;
  },
);
