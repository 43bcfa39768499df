import { methodsOf, patchModule } from "./patch-module.js";

// The rows that were changed during a compaction are not brought into the new data file.
patchModule(
  (request) => request.endsWith("/changed-keys.js"),
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "ChangedKeys", "take");
    Object.assign(methods, { take: () => [] });
    return undefined;
  },
);
