import { type Method, methodsOf, patchModule } from "./patch-module.js";

// The rows that were changed during a compaction are not brought into the new data file.
patchModule(
  (request) => request.endsWith("/changed-keys.js"),
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "ChangedKeys", "take");
    const take = methods["take"] as Method;
    const forgetful: Method = function () {
      take.call(this);
      return [];
    };
    Object.assign(methods, { take: forgetful });
    return undefined;
  },
);
