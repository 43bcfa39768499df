import type { Call, VersionedStore, Versioned } from "@bolthole/contract";
import { digestOf, digestOfBytes } from "../digest.js";
import type { RecordKey } from "../ledger/lines.js";

export interface Seen {
  readonly digest: string;
  readonly version: string;
}

/** One record as it is stored now. */
export async function loadRecord(
  store: VersionedStore,
  runtimeId: string,
  key: RecordKey,
  call: Call = {},
): Promise<Seen | undefined> {
  const [kind = "", id = "", sequence = ""] = key.split(" ");
  switch (kind) {
    case "snapshot": {
      const loaded = await store.loadSessionSnapshot({ runtimeId }, call);
      if (!loaded) return undefined;
      const chunks: Uint8Array[] = [];
      for await (const chunk of loaded.chunks) chunks.push(chunk);
      return { digest: digestOfBytes(Buffer.concat(chunks)), version: loaded.version };
    }
    case "lifecycle":
      return seenBytes(await store.loadMachineLifecycleRecord({ runtimeId }, call));
    case "ops":
      return seenValue(await store.loadOpsLifecycle({ runtimeId }, call));
    case "input":
      return seenValue(await store.loadInputState({ runtimeId, inputId: id }, call));
    case "receipt":
      return seenValue(await store.loadBoundaryReceipt({ runtimeId, runId: id, sequence: BigInt(sequence) }, call));
    case "oauth":
      return seenBytes(await store.loadAuthOauthFlowSnapshot({}, call));
    default:
      throw new RangeError(`no kind of record is called ${key}`);
  }
}

/** All input rows of a runtime, by their keys. */
export async function loadInputs(
  store: VersionedStore,
  runtimeId: string,
  call: Call = {},
): Promise<Map<RecordKey, Seen>> {
  const rows = new Map<RecordKey, Seen>();
  for await (const batch of (await store.loadInputStates({ runtimeId }, call)).batches) {
    for (const { value, version } of batch) rows.set(`input ${value.inputId}`, { digest: digestOf(value), version });
  }
  return rows;
}

const seenBytes = (row: Versioned<Uint8Array> | undefined): Seen | undefined =>
  row && { digest: digestOfBytes(row.value), version: row.version };

const seenValue = (row: Versioned<object> | undefined): Seen | undefined =>
  row && { digest: digestOf(row.value), version: row.version };
