import type { RuntimeStore } from "@bolthole/contract";
import { boundaryReceipt, freshId, inputRow, opsSnapshot } from "../load/records.js";
import { SessionScript } from "../load/session-script.js";
import type { Random } from "../random.js";

type Write = (store: RuntimeStore) => Promise<unknown>;

/** One write of every kind that a fence token guards, each to a place that the next writer writes as well. */
export function guardedWrites(random: Random, runtimeId: string, fenceToken: bigint): Readonly<Record<string, Write>> {
  const session = (): Buffer => {
    const script = new SessionScript(SESSION_ID, 200, random);
    return script.document(script.next(random, freshId()));
  };
  return {
    DeleteOpsLifecycle: (store) => store.deleteOpsLifecycle(runtimeId),
    ClearSessionSnapshot: (store) => store.clearSessionSnapshot(runtimeId),
    PersistInputState: (store) => store.persistInputState(runtimeId, inputRow(random, INPUT_ID, freshId())),
    CommitSessionSnapshot: (store) => store.commitSessionSnapshot(runtimeId, { sessionSnapshot: session() }),
    PersistOpsLifecycle: (store) => store.persistOpsLifecycle(runtimeId, opsSnapshot(random, freshId())),
    CommitMachineLifecycle: (store) =>
      store.commitMachineLifecycle(runtimeId, { runtimeState: "running", binding: { fenceToken } }, []),
    AtomicApply: (store) => {
      const receipt = boundaryReceipt(freshId(), 1n, [INPUT_ID], 0, freshId());
      return store.atomicApply(runtimeId, undefined, receipt, [inputRow(random, INPUT_ID, freshId())], undefined);
    },
  };
}

const INPUT_ID = "0198f0a0-0000-7000-8000-0000000000bb";
const SESSION_ID = "0198f0a0-0000-7000-8000-000000000001";
