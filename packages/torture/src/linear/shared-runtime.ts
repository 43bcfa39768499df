import { randomBytes } from "node:crypto";
import type { Call, ExpectedVersion, RuntimeMutation, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { digestOf, digestOfBytes } from "../digest.js";
import type { RecordKey } from "../ledger/lines.js";
import type { Seen } from "../load/load-record.js";
import type { Answer } from "../load/operation.js";
import { boundaryReceipt, freshId, inputRow, opsSnapshot } from "../load/records.js";
import type { Random } from "../random.js";
import { type ExpectedRecord, OAUTH, type WriteFacts } from "./history.js";

/** So few that clients meet. */
const INPUT_IDS = Array.from({ length: 3 }, (_, index) => `0198f0a0-0000-7000-8000-00000000000${String(index)}`);
const RUN_ID = "0198f0a0-0000-7000-8000-0000000000aa";
const RECEIPTS = 60;
const PROFILE = "opaque";

/** A write that is ready to be sent, any number of times under its id. */
export interface SharedWrite extends WriteFacts {
  readonly id: string;
  readonly partition: string;
  send(store: VersionedStore, call: Call): Promise<Answer | undefined>;
}

/** What one client last saw of a runtime that others write as well. */
export class SharedRuntime {
  private readonly versions = new Map<RecordKey, string | null>();
  private fence: string | undefined;

  constructor(readonly runtimeId: string) {}

  note(record: RecordKey, seen: Pick<Seen, "version"> | undefined): void {
    this.versions.set(record, seen?.version ?? null);
  }

  noteWritten({ sets, newFence }: WriteFacts, version: string): void {
    for (const [record, digest] of Object.entries(sets)) this.note(record, digest === null ? undefined : { version });
    if (newFence !== undefined) this.fence = newFence;
  }

  someRecord(random: Random): RecordKey {
    const input = `input ${INPUT_IDS[random.below(INPUT_IDS.length)] ?? ""}`;
    const receipt = `receipt ${RUN_ID} ${String(random.below(RECEIPTS))}`;
    return random.pick(["snapshot", "lifecycle", "ops", input, input, receipt]);
  }

  nextWrite(random: Random): SharedWrite {
    const kind = random.weighted({
      input: 15,
      ops: 6,
      noOps: 2,
      lifecycle: 8,
      snapshot: 5,
      replace: 7,
      clear: 3,
      boundary: 12,
    });
    const id = freshId();
    const expects = this.expects(random);
    const request = { runtimeId: this.runtimeId, requestId: id, ...expects.carried };
    return { id, partition: this.runtimeId, ...expects.facts, ...this.made(kind, id, request, random) };
  }

  private made(
    kind: "input" | "ops" | "noOps" | "lifecycle" | "snapshot" | "replace" | "clear" | "boundary",
    id: string,
    request: RuntimeMutation,
    random: Random,
  ): WriteFacts & Pick<SharedWrite, "send"> {
    switch (kind) {
      case "input": {
        const [row] = inputs(random, id, 1);
        if (!row) throw new RangeError("there are no input ids");
        const sets = { [`input ${row.inputId}`]: digestOf(row) };
        return { sets, send: (store, call) => store.persistInputState({ ...request, state: row }, call) };
      }
      case "ops": {
        const snapshot = opsSnapshot(random, id);
        const sets = { ops: digestOf(snapshot) };
        return { sets, send: (store, call) => store.persistOpsLifecycle({ ...request, snapshot }, call) };
      }
      case "noOps":
        return { sets: { ops: null }, send: (store, call) => store.deleteOpsLifecycle(request, call) };
      case "lifecycle": {
        const fenceToken = BigInt(random.below(1_000_000));
        const record = encodeLifecycleRecord({ runtimeState: "running", binding: { fenceToken, agentRuntimeId: id } });
        const inputStates = inputs(random, id, random.below(3));
        return {
          sets: { lifecycle: digestOfBytes(record), ...setsOf(inputStates) },
          newFence: fenceToken.toString(),
          send: (store, call) => store.commitMachineLifecycle({ ...request, record, inputStates }, call),
        };
      }
      case "snapshot": {
        const { delta, sets } = document();
        return { sets, send: (store, call) => store.commitSessionSnapshot({ ...request, sessionDelta: delta }, call) };
      }
      case "replace": {
        const { delta, sets } = document();
        const version = this.versions.get("snapshot") ?? "gone.1";
        const send: SharedWrite["send"] = (store, call) =>
          store.replaceSessionSnapshotIfCurrent({ ...request, expected: { version }, replacement: delta }, call);
        return { sets, ifCurrent: { record: "snapshot", version }, send };
      }
      case "clear": {
        const version = this.versions.get("snapshot");
        const sets = { snapshot: null };
        if (version === undefined || version === null)
          return { sets, send: (store, call) => store.clearSessionSnapshot(request, call) };
        const send: SharedWrite["send"] = (store, call) =>
          store.clearSessionSnapshotIfCurrent({ ...request, expected: { version } }, call);
        return { sets, ifCurrent: { record: "snapshot", version }, send };
      }
      case "boundary": {
        const inputUpdates = inputs(random, id, 1 + random.below(2));
        const ids = inputUpdates.map(({ inputId }) => inputId);
        const receipt = boundaryReceipt(RUN_ID, BigInt(random.below(RECEIPTS)), ids, 0, id);
        const key = `receipt ${RUN_ID} ${receipt.sequence.toString()}`;
        const session = random.oneIn(2) ? document() : undefined;
        return {
          sets: { [key]: digestOf(receipt), ...setsOf(inputUpdates), ...session?.sets },
          inserts: [key],
          send: (store, call) =>
            store.atomicApply(
              { ...request, sessionDelta: session?.delta, receipt, inputUpdates, sessionStoreKey: undefined },
              call,
            ),
        };
      }
    }
  }

  /** Sometimes what was last seen of the runtime, which may be true no more. */
  private expects(random: Random): {
    carried: Partial<RuntimeMutation>;
    facts: Pick<WriteFacts, "fence" | "versions">;
  } {
    switch (random.weighted({ nothing: 6, fence: 2, versions: 2 })) {
      case "nothing":
        return { carried: {}, facts: {} };
      case "fence":
        return this.fence === undefined
          ? { carried: {}, facts: {} }
          : { carried: { expectedFenceToken: BigInt(this.fence) }, facts: { fence: this.fence } };
      case "versions": {
        const named = [...this.versions].filter(([record]) => !record.startsWith("receipt ") && random.oneIn(3));
        const versions: ExpectedRecord[] = named.map(([record, version]) => ({ record, version }));
        return { carried: { expectedVersions: versions.map(onTheWire) }, facts: { versions } };
      }
    }
  }
}

/** The one OAuth value: replaced whatever it is, or by a compare-and-set over what this client last saw. */
export function nextOauthWrite(random: Random, last: string | null): SharedWrite {
  const id = freshId();
  const snapshot = Buffer.from(id);
  const facts = { id, partition: OAUTH, sets: { oauth: digestOfBytes(snapshot) } };
  if (random.oneIn(8)) {
    return { ...facts, send: (store, call) => store.persistAuthOauthFlowSnapshot({ requestId: id, snapshot }, call) };
  }
  const request = { requestId: id, expected: last ?? undefined, snapshot };
  return {
    ...facts,
    ifCurrent: { record: "oauth", version: last },
    send: async (store, call) => {
      const answer = await store.updateAuthOauthFlowSnapshot(request, call);
      return answer.updated ? answer : undefined;
    },
  };
}

const KINDS = { snapshot: "session_snapshot", lifecycle: "machine_lifecycle", ops: "ops_lifecycle" } as const;

function onTheWire({ record, version }: ExpectedRecord): ExpectedVersion {
  const expected = version ?? undefined;
  if (record.startsWith("input ")) return { record: "input_state", inputId: record.slice(6), version: expected };
  return { record: KINDS[record as keyof typeof KINDS], version: expected };
}

function inputs(random: Random, nonce: string, count: number) {
  const ids = new Set(Array.from({ length: count }, () => INPUT_IDS[random.below(INPUT_IDS.length)] ?? ""));
  return [...ids].map((inputId) => inputRow(random, inputId, nonce));
}

const setsOf = (rows: ReturnType<typeof inputs>): Record<RecordKey, string> =>
  Object.fromEntries(rows.map((row) => [`input ${row.inputId}`, digestOf(row)]));

function document() {
  const sessionSnapshot = randomBytes(200);
  return { delta: { sessionSnapshot, profile: PROFILE }, sets: { snapshot: digestOfBytes(sessionSnapshot) } } as const;
}
