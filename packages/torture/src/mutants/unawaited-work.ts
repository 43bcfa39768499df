import { methodsOf, patchModule } from "./patch-module.js";

// Calls are neither refused nor waited for, so LMDB is closed under the copies and readers that are running.
patchModule(
  (request, from) => request === "./engine-lifecycle.js" && from.includes("core"),
  (exports: Record<string, unknown>) => {
    const changed = (_variant: string, work: () => Promise<unknown>): Promise<unknown> => work();
    Object.assign(methodsOf(exports, "EngineLifecycle", "run"), { run: changed });
    return undefined;
  },
);
