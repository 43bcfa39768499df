import { randomBytes } from "node:crypto";
import {
  type Call,
  type ExpectedVersion,
  OutcomeUnknownError,
  type RuntimeMutation,
  StoreError,
  type StoreErrorReason,
  type VersionedStore,
} from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import type { RecordKey } from "../ledger.js";
import type { Acknowledgement } from "../load/operation.js";
import {
  type StoredRecord,
  boundaryReceipt,
  digestOf,
  digestOfBytes,
  freshId,
  inputRow,
  loadInputs,
  loadRecord,
  opsSnapshot,
} from "../load/records.js";
import type { Random } from "../random.js";
import type { Violations } from "../run.js";
import { type ExpectedRecord, type HistoryLine, OAUTH, type WriteFacts, now } from "./history-checker.js";

/** The input ids of every runtime. They are few, so that clients write the same rows. */
const INPUT_IDS = Array.from({ length: 3 }, (_, index) => `0198f0a0-0000-7000-8000-00000000000${String(index)}`);
const RUN_ID = "0198f0a0-0000-7000-8000-0000000000aa";
const RECEIPTS = 60;
const PROFILE = "opaque";
/** Every record that a runtime can have. A deletion removes all of them. */
const ALL_RECORDS: readonly RecordKey[] = [
  "snapshot",
  "lifecycle",
  "ops",
  ...INPUT_IDS.map((id) => `input ${id}`),
  ...Array.from({ length: RECEIPTS }, (_, sequence) => `receipt ${RUN_ID} ${String(sequence)}`),
];

/** A write that can be sent any number of times with the same request id. */
interface SharedWrite extends WriteFacts {
  readonly id: string;
  readonly partition: string;
  send(store: VersionedStore, call: Call): Promise<Acknowledgement | undefined>;
}

/** How often each write of a runtime is chosen. */
const WRITE_WEIGHTS = {
  input: 15,
  ops: 6,
  deleteOps: 2,
  deleteRuntime: 1,
  lifecycle: 8,
  snapshot: 5,
  replace: 7,
  clear: 3,
  boundary: 12,
};

/** The state of a runtime as one client last saw it. Other clients write the same runtime. */
class SharedRuntime {
  private readonly versions = new Map<RecordKey, string | null>();
  private fence: string | undefined;

  constructor(readonly runtimeId: string) {}

  note(record: RecordKey, seen: Pick<StoredRecord, "version"> | undefined): void {
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
    const kind = random.weighted(WRITE_WEIGHTS);
    const id = freshId();
    const expects = this.expects(random);
    const request = { runtimeId: this.runtimeId, requestId: id, ...expects.carried };
    return { id, partition: this.runtimeId, ...expects.facts, ...this.made(kind, id, request, random) };
  }

  private made(
    kind: keyof typeof WRITE_WEIGHTS,
    id: string,
    request: RuntimeMutation,
    random: Random,
  ): WriteFacts & Pick<SharedWrite, "send"> {
    switch (kind) {
      case "input": {
        const [row] = inputs(random, id, 1);
        if (!row) throw new RangeError("there must be an input id");
        const sets = { [`input ${row.inputId}`]: digestOf(row) };
        return { sets, send: (store, call) => store.persistInputState({ ...request, state: row }, call) };
      }
      case "ops": {
        const snapshot = opsSnapshot(random, id);
        const sets = { ops: digestOf(snapshot) };
        return { sets, send: (store, call) => store.persistOpsLifecycle({ ...request, snapshot }, call) };
      }
      case "deleteOps":
        return { sets: { ops: null }, send: (store, call) => store.deleteOpsLifecycle(request, call) };
      case "deleteRuntime": {
        const sets = Object.fromEntries(ALL_RECORDS.map((record) => [record, null]));
        return { sets, send: (store, call) => store.deleteRuntime(request, call) };
      }
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

  /** Chooses expectations: mostly none, sometimes the last state that was seen, which may be old. */
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

/** Makes a write of the OAuth value: unconditional, or a compare-and-set from the version that was last seen. */
function nextOauthWrite(random: Random, last: string | null): SharedWrite {
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
      const response = await store.updateAuthOauthFlowSnapshot(request, call);
      return response.updated ? response : undefined;
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

/** Refusals that the checker's model explains. */
const MODELLED: readonly StoreErrorReason[] = ["FENCE_CONFLICT", "VERSION_CONFLICT", "RECEIPT_EXISTS"];
/** Failures that change nothing. A fault explains them. */
const EXPLAINED: readonly StoreErrorReason[] = [
  "UNAVAILABLE",
  "CANCELLED",
  "DEADLINE_EXCEEDED",
  "BUSY",
  "SHUTTING_DOWN",
];

const CALL_MS = 400;
const SETTLE_MS = 2000;

/** One of several clients of the same runtimes. It records each operation with the times of its call and its response. */
export class LinearClient {
  private readonly runtimes: readonly SharedRuntime[];
  private oauthVersion: string | null;
  /** Writes of the OAuth value that got no response. */
  private readonly openOauth: { readonly id: string; readonly line: HistoryLine }[] = [];

  constructor(
    private readonly number: number,
    runtimeIds: readonly string[],
    oauthVersion: string | null,
    private readonly store: VersionedStore,
    private readonly random: Random,
    private readonly violations: Violations,
    private readonly append: (line: HistoryLine) => void,
  ) {
    this.runtimes = runtimeIds.map((runtimeId) => new SharedRuntime(runtimeId));
    this.oauthVersion = oauthVersion;
  }

  async load(halt: AbortSignal): Promise<void> {
    while (!halt.aborted) {
      const runtime = this.runtimes[this.random.below(this.runtimes.length)];
      if (!runtime) return;
      switch (this.random.weighted({ write: 50, read: 35, list: 6, readOauth: 4, writeOauth: 5 })) {
        case "write":
          await this.write(runtime.nextWrite(this.random), runtime);
          break;
        case "read":
          await this.read(runtime);
          break;
        case "list":
          await this.list(runtime);
          break;
        case "readOauth":
          await this.readOauth();
          break;
        case "writeOauth":
          await this.write(nextOauthWrite(this.random, this.oauthVersion), undefined);
          break;
      }
    }
  }

  private async write(write: SharedWrite, runtime: SharedRuntime | undefined): Promise<void> {
    const { id, partition, sets, inserts, newFence, fence, versions, ifCurrent } = write;
    const facts = {
      partition,
      kind: "write",
      client: this.number,
      sets,
      inserts,
      newFence,
      fence,
      versions,
      ifCurrent,
    } as const;
    const call = now();
    const done = (result: string, version?: string): void => {
      this.append({ ...facts, call, return: now(), result, version });
      if (version !== undefined) this.written(write, version, runtime);
    };
    try {
      const response = await write.send(this.store, { deadline: Date.now() + CALL_MS });
      if (response) done("ok", response.version);
      else done("missed");
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (MODELLED.includes(error.reason)) done(error.reason);
      else if (error instanceof OutcomeUnknownError) await this.settle(id, { ...facts, call });
      else this.judge(error, partition);
    }
  }

  /** Seals and settles half of the operations without a response; the others stay open. */
  private async settle(id: string, line: HistoryLine): Promise<void> {
    if (line.partition === OAUTH) this.openOauth.push({ id, line });
    else if (this.random.oneIn(2)) this.append(line);
    else {
      try {
        await this.seal(this.store, id, line);
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        this.append(line);
      }
    }
  }

  /** Settles the writes of the OAuth value. */
  async settleOauth(store: VersionedStore): Promise<void> {
    for (const { id, line } of this.openOauth.splice(0)) await this.seal(store, id, line);
  }

  /** Seals a request id. A sealed operation is left out of the history, so a read of its value would be reported. */
  private async seal(store: VersionedStore, id: string, line: HistoryLine): Promise<void> {
    const status = await store.getCommit({ requestId: id, seal: true }, { deadline: Date.now() + SETTLE_MS });
    if (status.state === "applied") this.append({ ...line, return: now(), result: "ok", version: status.version });
    else if (status.state !== "sealed")
      this.violations.add("request outcome", id, `GetCommit with seal returned ${status.state}`);
  }

  private written(write: SharedWrite, version: string, runtime: SharedRuntime | undefined): void {
    if (runtime) runtime.noteWritten(write, version);
    else this.oauthVersion = version;
  }

  private async read(runtime: SharedRuntime): Promise<void> {
    const record = runtime.someRecord(this.random);
    await this.reading(runtime.runtimeId, async (deadline) => {
      const seen = await loadRecord(this.store, runtime.runtimeId, record, { deadline });
      runtime.note(record, seen);
      return { kind: "read", record, seen } as const;
    });
  }

  private async list(runtime: SharedRuntime): Promise<void> {
    await this.reading(runtime.runtimeId, async (deadline) => {
      const rows: Record<string, StoredRecord> = Object.fromEntries(
        await loadInputs(this.store, runtime.runtimeId, { deadline }),
      );
      return { kind: "list", rows } as const;
    });
  }

  private async readOauth(): Promise<void> {
    await this.reading(OAUTH, async (deadline) => {
      const seen = await loadRecord(this.store, "", "oauth", { deadline });
      this.oauthVersion = seen?.version ?? null;
      return { kind: "read", record: "oauth", seen } as const;
    });
  }

  private async reading(
    partition: string,
    read: (deadline: number) => Promise<Pick<HistoryLine, "kind" | "record" | "seen" | "rows">>,
  ): Promise<void> {
    const call = now();
    try {
      const found = await read(Date.now() + CALL_MS);
      this.append({ partition, client: this.number, call, return: now(), ...found });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.judge(error, partition);
    }
  }

  private judge(error: StoreError, partition: string): void {
    if (EXPLAINED.includes(error.reason)) return;
    this.violations.add("correct responses", partition, `${error.reason}: ${error.message}`);
  }
}
