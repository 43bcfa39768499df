import type { RuntimeId } from "@bolthole/contract";
import { damaged } from "../commit/row.js";
import type { Engine, RowKey, View } from "../engine.js";

/**
 * An engine that answers for some runtimes as damaged, whatever is asked of them: their books do not say what is there, so a
 * row that is sound in itself may be an old one. More of them may come.
 */
export function quarantine(engine: Engine, runtimes: ReadonlySet<RuntimeId>): Engine {
  const admit = (key: RowKey | { readonly runtimeId: RuntimeId }): void => {
    if ("runtimeId" in key && runtimes.has(key.runtimeId)) {
      throw damaged({ table: "runtimeManifest", runtimeId: key.runtimeId }, "does not fit the rows that are there");
    }
  };
  const guard = (view: View): View => ({
    get: async (key) => {
      admit(key);
      return view.get(key);
    },
    scan: async (range, limit) => {
      if ("runtimeId" in range) admit(range);
      return view.scan(range, limit);
    },
    document: async (runtimeId, range) => {
      admit({ runtimeId });
      return view.document(runtimeId, range);
    },
  });
  return {
    name: engine.name,
    durable: engine.durable,
    storeId: engine.storeId,
    epoch: engine.epoch,
    view: (read) => (runtimes.size === 0 ? engine.view(read) : engine.view((view) => read(guard(view)))),
    async stage(runtimeId, base, document) {
      admit({ runtimeId });
      return engine.stage(runtimeId, base, document);
    },
    discard: (staged) => engine.discard(staged),
    async commit(batch) {
      for (const { key } of batch.reads.handles) admit(key);
      return engine.commit(batch);
    },
    stats: () => engine.stats(),
    ...(engine.backUp && { backUp: engine.backUp.bind(engine) }),
    ...(engine.check && { check: engine.check.bind(engine) }),
    close: () => engine.close(),
  };
}
