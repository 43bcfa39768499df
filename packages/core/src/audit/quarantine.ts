import type { RuntimeId } from "@bolthole/contract";
import { damaged } from "../commit/row.js";
import type { Engine, RowKey, View } from "../engine.js";

/**
 * Returns an engine that throws DAMAGED_RECORD for every access to some runtimes. Their manifests do not match their rows, so
 * that even a row with a valid checksum may be an old one. Runtimes may be added to the set later.
 */
export function quarantine(engine: Engine, runtimes: Pick<ReadonlySet<RuntimeId>, "size" | "has">): Engine {
  const admit = (key: RowKey | { readonly runtimeId: RuntimeId }): void => {
    if ("runtimeId" in key && runtimes.has(key.runtimeId)) {
      throw damaged({ table: "runtimeManifest", runtimeId: key.runtimeId }, "does not match the rows that are there");
    }
  };
  const guard = (view: View): View => ({
    get: async (key) => {
      admit(key);
      return view.get(key);
    },
    scan: async (range, limit, bytes) => {
      if ("runtimeId" in range) admit(range);
      return view.scan(range, limit, bytes);
    },
    document: async (key, range) => {
      admit(key);
      return view.document(key, range);
    },
  });
  return {
    name: engine.name,
    durable: engine.durable,
    storeId: engine.storeId,
    epoch: engine.epoch,
    viewHoldMs: engine.viewHoldMs,
    view: (read) => (runtimes.size === 0 ? engine.view(read) : engine.view((view) => read(guard(view)))),
    async stage(key, base, document) {
      admit(key);
      return engine.stage(key, base, document);
    },
    discard: (staged) => engine.discard(staged),
    async stageRows(runtimeId, slices) {
      admit({ runtimeId });
      return engine.stageRows(runtimeId, slices);
    },
    discardRows: (staged) => engine.discardRows(staged),
    async commit(batch) {
      if (runtimes.size > 0) for (const { key } of batch.reads.handles) admit(key);
      return engine.commit(batch);
    },
    stats: () => engine.stats(),
    ...(engine.backUp && { backUp: engine.backUp.bind(engine) }),
    ...(engine.compact && { compact: engine.compact.bind(engine) }),
    ...(engine.check && { check: engine.check.bind(engine) }),
    close: () => engine.close(),
  };
}
