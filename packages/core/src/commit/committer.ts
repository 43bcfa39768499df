import type {
  DeletedCounts,
  InputId,
  InputsVersions,
  KeptInput,
  Mutation,
  RuntimeId,
  RuntimeMutation,
  StoreError,
  UnchangedInputs,
  Version,
} from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { Decision, Engine, RowSetReplacement, StagedDocument, Table, WriteBatch } from "../engine.js";
import { CountedChecksums, commitOverDamage } from "./damaged-rows.js";
import { expectationsOf } from "./expectations.js";
import { type Fingerprinted, fingerprint } from "./fingerprint.js";
import { type ManifestCorrection, STORE_MANIFEST_KEY, isSameRowSet } from "./manifests.js";
import { type Outcome, decodeOutcome, encodeOutcome, type StoredResponse, WRITTEN } from "./outcome.js";
import { type RequestId, isExpired, parseRequestId, refuseAhead, refuseByTime } from "./request-id.js";
import { ReadRows, ReadSet, type RowHandle, type RowReader, decodeRow, isVerified, versionText } from "./row.js";
import { type MergedRows, StaleRowsError } from "./row-set.js";
import type { StoreTime } from "./store-time.js";
import { WriteSet } from "./write-set.js";

/** A new value of a row that a change reads, or the deletion of the row. */
export interface RowEdit {
  readonly handle: RowHandle;
  readonly value: Uint8Array | undefined;
  readonly document?: StagedDocument | undefined;
}

/** A request that may be repeated, with the ids of its input rows. */
export interface Repeatable<R extends AnyMutation> extends Fingerprinted<R> {
  /** The ids of the input rows of the request, in the order of their edits. A replayed response needs them. */
  readonly inputIds?: InputIds | undefined;
}

/** A list of input ids. */
export interface InputIds {
  readonly length: number;
  at(index: number): InputId | undefined;
}

/** One mutation, checked and ready for the writer. Method and fingerprint are kept with the outcome. */
export interface Change<R extends AnyMutation> extends Repeatable<R>, Edits {}

/** The rows that a change reads, and the decision about them. */
export interface Edits {
  /** Every row that `decide` reads or edits. */
  readonly reads: ReadSet;
  /** About how many bytes of values the change writes. */
  readonly bytes: number;
  /** Uploaded input rows that become part of the runtime's row set together with the edits. */
  readonly rowSet?: MergedRows | undefined;
  /** Returns the edits, or throws a refusal. It is pure, and may be called again over newer rows. */
  decide(rows: RowReader): readonly RowEdit[];
}

/** The deletion of a runtime with all its rows. Neither the rows nor the runtime manifest are decoded. */
export interface RuntimeDeletion {
  readonly runtimeId: RuntimeId;
  readonly reads: ReadSet;
  /** The number of rows of its row set, which is deleted as a whole. */
  readonly counts: Pick<DeletedCounts, "inputStates" | "receipts">;
  /** Returns the other rows to delete and the correction of the store manifest, or throws a refusal. It is pure. */
  decide(rows: RowReader): { readonly rows: readonly RowHandle[]; readonly correction: ManifestCorrection };
}

/** A change that is not made when the compare-and-set of its caller misses: then `decide` returns undefined. */
export type ConditionalChange<R extends AnyMutation> = Omit<Change<R>, "decide"> & {
  decide(rows: RowReader): readonly RowEdit[] | undefined;
};

export type AnyMutation = (Mutation | RuntimeMutation) & { readonly unchangedInputs?: UnchangedInputs | undefined };

/** Decides the writes of a change. Returns undefined when nothing is to be written. */
type Edit = (rows: RowReader, writes: WriteSet, sequence: number) => Written | undefined;

/** The identity of a request. A repeated request id must have the same fingerprint. */
interface RequestIdentity {
  readonly requestId: RequestId;
  readonly fingerprint: Uint8Array;
}

export interface Committed {
  readonly version: Version;
  readonly replayed: boolean;
  readonly keptInputs: readonly KeptInput[];
  /** The versions of all input rows. Absent for a mutation without a runtime, and in a replay of an outcome of the first form. */
  readonly inputs?: InputsVersions | undefined;
  /** The counts of the deletion of a runtime. Absent for other mutations. */
  readonly deletedRuntime?: DeletedCounts | undefined;
}

/** The facts that the writer keeps of a change after it was put into its write set. */
interface Written {
  /** The sequence of the version in the response. */
  readonly sequence: number;
  readonly response: StoredResponse;
  readonly replaceRows?: RowSetReplacement | undefined;
  /** `Decision.freesSpace`. */
  readonly freesSpace: boolean;
}

/** An input row that was not written, because it equals the stored one. */
interface KeptRow {
  readonly inputId: InputId;
  readonly sequence: number;
}

/**
 * Commits changes through the writer: checks the outcome of the request id and then the expectations, applies the rule, and
 * updates the manifests. It contains everything that all mutations share; a rule contains only the part that differs.
 */
export class Committer {
  /** The number of calls that work on each request id. */
  private readonly working = new Map<string, number>();

  constructor(
    private readonly engine: Engine,
    private readonly time: StoreTime,
    /** Called when an id was sealed that had no outcome. */
    private readonly onSealed: () => void,
  ) {}

  /**
   * Returns the stored response of a mutation's request id, if there is one. A session change calls this first: its document
   * would otherwise be compared with the one that the first call stored, and refused.
   */
  async replayed<R extends AnyMutation>(change: Repeatable<R>): Promise<Committed | undefined> {
    const requestId = this.requestIdOf(change.request);
    if (!requestId) return undefined;
    const key = { table: "outcome", requestId: requestId.text } as const;
    const row = await this.engine.view((view) => view.get(key));
    return (
      row && this.replay(decodeRow(key, row, decodeOutcome), requestId, await fingerprint(change), change.inputIds)
    );
  }

  /** Runs `work`, and reports the request id of the mutation as pending until it ends. */
  async pendingDuring<T>(mutation: Mutation, work: () => Promise<T>): Promise<T> {
    return this.track(this.requestIdOf(mutation), work);
  }

  async commit<R extends AnyMutation>(change: Change<R>): Promise<Committed> {
    const committed = await this.commitIfCurrent(change);
    if (!committed) throw new TypeError(`${change.method} returned no edits`);
    return committed;
  }

  /** Returns undefined when the compare-and-set of the change missed. Nothing is written then, and no outcome is kept. */
  commitIfCurrent<R extends AnyMutation>(change: ConditionalChange<R>): Promise<Committed | undefined> {
    const { epoch } = this.engine;
    const request: AnyMutation = change.request;
    return this.write(this.engine, change, change.bytes, (rows, writes, sequence) => {
      const before = "runtimeId" in request ? writes.runtimeManifest.inputsSequence : undefined;
      refuseChangedInputs(request, before === undefined ? undefined : versionText(epoch, before));
      const edits = change.decide(rows);
      if (!edits) return undefined;
      if (change.rowSet && "runtimeId" in request) {
        return this.applyRowSet(request.runtimeId, change.rowSet, edits, rows, writes, sequence);
      }
      const keptRows = this.apply(edits, rows, writes);
      const only = edits.length === 1 ? keptRows[0] : undefined;
      return {
        sequence: only?.sequence ?? sequence,
        response: {
          inputs: before === undefined ? undefined : { before, after: writes.writesInputs ? sequence : before },
          keptSequences: keptSequences(change.inputIds, keptRows),
        },
        freesSpace: edits.every(({ value }) => value === undefined),
      };
    });
  }

  /** Deletes a runtime. `engine` is the engine of this store, without a check that refuses damaged runtimes. */
  async deleteRuntime(
    engine: Engine,
    request: Fingerprinted<RuntimeMutation>,
    { runtimeId, reads, counts, decide }: RuntimeDeletion,
  ): Promise<Committed & { readonly deletedRuntime: DeletedCounts }> {
    const committed = await this.write(engine, { ...request, reads }, 0, (rows, writes, sequence) => {
      const deletion = decide(rows);
      writes.replaceRuntime(deletion.correction);
      for (const handle of deletion.rows) writes.delete(handle);
      const deletedRuntime = { ...counts, ...singleRows(deletion.rows.filter((handle) => rows.get(handle))) };
      const replaceRows = { runtimeId, rows: undefined };
      writes.replaceRows(replaceRows);
      return { sequence, response: { keptSequences: [], deletedRuntime }, replaceRows, freesSpace: true };
    });
    if (!committed?.deletedRuntime) throw new TypeError("the stored outcome of a deletion has no counts");
    return { ...committed, deletedRuntime: committed.deletedRuntime };
  }

  /** Runs a change in the writer, with the steps that all mutations share. `edit` returns undefined to write nothing. */
  private write<R extends AnyMutation>(
    engine: Engine,
    change: Repeatable<R> & { readonly reads: ReadSet },
    bytes: number,
    edit: Edit,
  ): Promise<Committed | undefined> {
    const requestId = this.requestIdOf(change.request);
    const counted = new CountedChecksums();
    const commitAs = (identity: RequestIdentity | undefined): Promise<Committed | undefined> =>
      commitOverDamage(engine, counted, this.batchOf(change, bytes, identity, counted, edit));
    if (!requestId) return commitAs(undefined);
    const commit = (ofRequest: Uint8Array) => commitAs({ requestId, fingerprint: ofRequest });
    return this.track(requestId, () => {
      const ofRequest = fingerprint(change);
      return ofRequest instanceof Promise ? ofRequest.then(commit) : commit(ofRequest);
    });
  }

  private batchOf<R extends AnyMutation>(
    change: Repeatable<R> & { readonly reads: ReadSet },
    bytes: number,
    identity: RequestIdentity | undefined,
    counted: CountedChecksums,
    edit: Edit,
  ): WriteBatch<Committed | undefined> {
    const { reads } = change;
    const request: AnyMutation = change.request;
    const { epoch } = this.engine;
    const expectations = expectationsOf(request, reads, epoch);
    const manifests = {
      store: reads.add(STORE_MANIFEST_KEY),
      runtime:
        "runtimeId" in request ? reads.add({ table: "runtimeManifest", runtimeId: request.runtimeId }) : undefined,
    };
    const kept = identity && {
      requestId: identity.requestId,
      fingerprint: identity.fingerprint,
      handle: reads.add({ table: "outcome", requestId: identity.requestId.text }),
    };

    const decide = (rows: RowReader, sequence: number): Decision<Committed | undefined> => {
      const writes = new WriteSet(rows, manifests, sequence, counted);
      if (kept) {
        const outcome = writes.read(kept.handle, decodeOutcome);
        if (outcome) return nothingWritten(this.replay(outcome, kept.requestId, kept.fingerprint, change.inputIds));
        refuseByTime(kept.requestId, this.time.times(writes.storeManifest));
      }
      for (const check of expectations) check(rows, writes);
      const written = edit(rows, writes, sequence);
      if (!written) return nothingWritten(undefined);
      const { response, freesSpace } = written;
      const version = versionText(epoch, written.sequence);
      if (kept) {
        const { method } = change;
        const outcome = { state: "applied", version, method, fingerprint: kept.fingerprint, response } as const;
        writes.put(kept.handle, encodeOutcome(outcome));
      }
      return {
        writes: writes.close(this.time),
        replaceRows: written.replaceRows,
        result: this.committed(version, false, response, change.inputIds),
        freesSpace,
      };
    };
    return { reads, bytes, decide };
  }

  /** Returns the state of a request id. With `seal`, a request that was not applied can never be applied later. */
  async status(
    text: string,
    seal: boolean,
  ): Promise<Outcome | { readonly state: "pending" | "not_found" | "expired" }> {
    const requestId = parseRequestId(text);
    const reads = new ReadSet();
    const handle = reads.add({ table: "outcome", requestId: requestId.text });
    const manifests = { store: reads.add(STORE_MANIFEST_KEY) };
    const known = (writes: WriteSet): Outcome | { readonly state: "expired" } | undefined => {
      const outcome = writes.read(handle, decodeOutcome);
      if (outcome) return outcome;
      if (isExpired(requestId, writes.storeManifest.horizonMs)) return { state: "expired" };
      refuseAhead(requestId, this.time.times(writes.storeManifest));
      return undefined;
    };
    if (!seal) {
      const rows = await this.engine.view((view) =>
        Promise.all(reads.handles.map(async ({ key }) => ({ row: await view.get(key) }))),
      );
      const status = known(new WriteSet(new ReadRows(rows), manifests, 0));
      return status ?? { state: this.working.has(requestId.text) ? "pending" : "not_found" };
    }
    const earlier = await this.engine.commit<Outcome | { readonly state: "expired" } | undefined>({
      reads,
      bytes: 0,
      decide: (rows, sequence) => {
        const writes = new WriteSet(rows, manifests, sequence);
        const status = known(writes);
        if (status) return nothingWritten(status);
        writes.put(handle, encodeOutcome({ state: "sealed" }));
        return { writes: writes.close(this.time), result: undefined, freesSpace: false };
      },
    });
    if (earlier) return earlier;
    this.onSealed();
    return { state: "sealed" };
  }

  private async track<T>(requestId: RequestId | undefined, work: () => Promise<T>): Promise<T> {
    if (!requestId) return work();
    const { working } = this;
    working.set(requestId.text, (working.get(requestId.text) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const left = (working.get(requestId.text) ?? 1) - 1;
      if (left === 0) working.delete(requestId.text);
      else working.set(requestId.text, left);
    }
  }

  /**
   * Puts the edits and a merged row set into the write set. Everything gets the sequence of the staged rows, and so one version.
   * Throws `StaleRowsError` when the runtime has another row set than the one that was merged.
   */
  private applyRowSet(
    runtimeId: RuntimeId,
    { staged, base, keptSequences, writesRows }: MergedRows,
    edits: readonly RowEdit[],
    rows: RowReader,
    writes: WriteSet,
    sequence: number,
  ): Written {
    if (!isSameRowSet(writes.runtimeManifest, base)) throw new StaleRowsError();
    const before = writes.runtimeManifest.inputsSequence;
    const replaceRows = writesRows ? { runtimeId, rows: staged } : undefined;
    if (replaceRows) {
      writes.useSequenceOf(staged);
      writes.replaceRows(replaceRows);
    }
    this.apply(edits, rows, writes);
    const written = writesRows ? staged.sequence : sequence;
    // A change of one row that equals the stored one returns the version of that row.
    const [only = WRITTEN] = edits.length === 0 ? keptSequences : [];
    return {
      sequence: only === WRITTEN ? written : only,
      response: { inputs: { before, after: writesRows ? written : before }, keptSequences },
      replaceRows,
      freesSpace: false,
    };
  }

  /** Puts the edits into the write set. An input row that equals the stored one is left out, and returned. */
  private apply(edits: readonly RowEdit[], rows: RowReader, writes: WriteSet): KeptRow[] {
    const kept: KeptRow[] = [];
    for (const { handle, value, document } of edits) {
      const { key } = handle;
      const stored = key.table === "input" ? rows.get(handle) : undefined;
      // A damaged row is not kept, even when its value is the same: its version may be damaged.
      if (key.table === "input" && value && stored && isEqual(stored.value, value) && isVerified(key, stored)) {
        kept.push({ inputId: key.inputId, sequence: stored.sequence });
      } else if (value) {
        writes.put(handle, value, document);
      } else {
        writes.delete(handle);
      }
    }
    return kept;
  }

  /** Returns a response from its stored form: the first one and a replayed one have the same fields. */
  private committed(
    version: Version,
    replayed: boolean,
    { inputs, keptSequences, deletedRuntime }: StoredResponse,
    inputIds: InputIds = [],
  ): Committed {
    const { epoch } = this.engine;
    const keptInputs: KeptInput[] = [];
    keptSequences.forEach((sequence, index) => {
      const inputId = sequence === WRITTEN ? undefined : inputIds.at(index);
      if (inputId === undefined) return;
      keptInputs.push({ inputId, version: versionText(epoch, sequence) });
    });
    return {
      version,
      replayed,
      keptInputs,
      inputs: inputs && { before: versionText(epoch, inputs.before), after: versionText(epoch, inputs.after) },
      deletedRuntime,
    };
  }

  private requestIdOf({ requestId, expectedStoreId }: Mutation): RequestId | undefined {
    if (expectedStoreId !== undefined && expectedStoreId !== this.engine.storeId) {
      throw writeFailed("STORE_REPLACED", `expected store ${expectedStoreId}, found store ${this.engine.storeId}`, {
        record: "expected_store_id",
        expected: expectedStoreId,
        actual: this.engine.storeId,
      });
    }
    return requestId === undefined ? undefined : parseRequestId(requestId);
  }

  private replay(
    outcome: Outcome,
    requestId: RequestId,
    expected: Uint8Array,
    inputIds: InputIds | undefined,
  ): Committed {
    if (outcome.state === "sealed") {
      throw refusedId("REQUEST_ID_SEALED", requestId, "was sealed by GetCommit and can never be applied");
    }
    if (Buffer.compare(outcome.fingerprint, expected) !== 0) {
      throw refusedId("REQUEST_ID_REUSED", requestId, `was already used for another request (${outcome.method})`);
    }
    const { version, response = { keptSequences: [] } } = outcome;
    return this.committed(version, true, response, inputIds);
  }
}

/** Returns the sequence of each input row that was kept, and `WRITTEN` for the others. Kept rows have the order of their edits. */
function keptSequences(inputIds: InputIds = [], kept: readonly KeptRow[]): number[] {
  const sequences: number[] = [];
  if (kept.length === 0) return sequences;
  let next = 0;
  for (let index = 0; index < inputIds.length; index += 1) {
    const row = kept[next];
    const isKept = row !== undefined && row.inputId === inputIds.at(index);
    if (isKept) next += 1;
    sequences.push(isKept ? row.sequence : WRITTEN);
  }
  return sequences;
}

function singleRows(handles: readonly RowHandle[]): Omit<DeletedCounts, "inputStates" | "receipts"> {
  const has = (table: Table): boolean => handles.some(({ key }) => key.table === table);
  return {
    hadSessionSnapshot: has("snapshot"),
    hadMachineLifecycle: has("lifecycle"),
    hadOpsLifecycle: has("ops"),
  };
}

const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

const nothingWritten = <T>(result: T): Decision<T> => ({ writes: [], result, freesSpace: false });

/** A caller may omit unchanged input rows only while no input row of the runtime has been written since its version. */
function refuseChangedInputs(request: AnyMutation, actual = "none"): void {
  const expected = request.unchangedInputs?.inputsVersion;
  if (expected === undefined || expected === actual) return;
  throw writeFailed(
    "INPUT_NOT_CURRENT",
    `input rows were written since version ${expected}; send the rows themselves`,
    {
      runtimeId: "runtimeId" in request ? request.runtimeId : undefined,
      record: "unchanged_inputs",
      expected,
      actual,
    },
  );
}

const refusedId = (
  reason: "REQUEST_ID_SEALED" | "REQUEST_ID_REUSED",
  requestId: RequestId,
  problem: string,
): StoreError =>
  writeFailed(reason, `request id ${requestId.text} ${problem}`, { record: "request_id", actual: requestId.text });
