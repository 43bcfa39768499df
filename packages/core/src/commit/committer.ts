import type {
  InputsVersions,
  KeptInput,
  Mutation,
  RuntimeMutation,
  StoreError,
  UnchangedInputs,
  Version,
} from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { Decision, Engine, StagedDocument } from "../engine.js";
import { ReadRows, ReadSet, type RowHandle, type RowReader, WriteSet } from "./batch-rows.js";
import { expectationsOf } from "./expectations.js";
import { type Fingerprinted, fingerprint } from "./fingerprint.js";
import { STORE_MANIFEST_KEY } from "./manifests.js";
import { type Outcome, type RequestId, decodeOutcome, encodeOutcome, parseRequestId } from "./outcome.js";
import { decodeRow, versionText } from "./row.js";

/** A new value of a row that a change reads, or the deletion of the row. */
export interface RowEdit {
  readonly handle: RowHandle;
  readonly value: Uint8Array | undefined;
  readonly document?: StagedDocument | undefined;
}

/** One mutation, checked and ready for the writer. Method and fingerprint are kept with the outcome. */
export interface Change<R extends AnyMutation> extends Fingerprinted<R>, Edits {}

/** The rows that a change reads, and what becomes of them. */
export interface Edits {
  /** Every row that `decide` reads or edits. */
  readonly reads: ReadSet;
  /** About how many bytes of values the change writes. */
  readonly bytes: number;
  /** Returns the edits, or throws a refusal. It is pure, and may be called again over newer rows. */
  decide(rows: RowReader): readonly RowEdit[];
}

/** A change that is not made when the compare-and-set of its caller misses: then `decide` returns undefined. */
export type ConditionalChange<R extends AnyMutation> = Omit<Change<R>, "decide"> & {
  decide(rows: RowReader): readonly RowEdit[] | undefined;
};

export type AnyMutation = (Mutation | RuntimeMutation) & { readonly unchangedInputs?: UnchangedInputs | undefined };

export interface Committed {
  readonly version: Version;
  readonly replayed: boolean;
  readonly keptInputs: readonly KeptInput[];
  /** Absent in a replayed response, and for a mutation without a runtime. */
  readonly inputs?: InputsVersions | undefined;
}

/**
 * Takes changes through the writer: first the outcome of the request id, then the expectations, then the rule, then the
 * manifests. Everything that all mutations share is here; a rule contains only what is special to its mutation.
 */
export class Committer {
  /** The number of calls that work on each request id. */
  private readonly working = new Map<string, number>();

  constructor(
    private readonly engine: Engine,
    /** The greatest age of a request id without a stored outcome, in milliseconds. */
    private readonly maxAgeMs: number,
    private readonly now: () => number,
  ) {}

  /**
   * Returns the stored response of a mutation's request id, if there is one. A session change asks for it first, because a
   * repeated change would be refused over the document that its first call stored.
   */
  async replayed<R extends AnyMutation>(change: Fingerprinted<R>): Promise<Committed | undefined> {
    const requestId = this.requestIdOf(change.request);
    if (!requestId) return undefined;
    const key = { table: "outcome", requestId: requestId.text } as const;
    const row = await this.engine.view((view) => view.get(key));
    return row && this.replay(decodeRow(key, row, decodeOutcome), requestId, fingerprint(change));
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
  async commitIfCurrent<R extends AnyMutation>(change: ConditionalChange<R>): Promise<Committed | undefined> {
    const { reads } = change;
    const request: AnyMutation = change.request;
    const requestId = this.requestIdOf(request);
    const { epoch } = this.engine;
    const expectations = expectationsOf(request, reads, epoch);
    const manifests = {
      store: reads.add(STORE_MANIFEST_KEY),
      runtime:
        "runtimeId" in request ? reads.add({ table: "runtimeManifest", runtimeId: request.runtimeId }) : undefined,
    };
    const kept = requestId && {
      requestId,
      fingerprint: fingerprint(change),
      handle: reads.add({ table: "outcome", requestId: requestId.text }),
    };

    const decide = (rows: RowReader, sequence: number): Decision<Committed | undefined> => {
      const writes = new WriteSet(rows, manifests, sequence);
      if (kept) {
        const outcome = writes.read(kept.handle, decodeOutcome);
        if (outcome) return nothingWritten(this.replay(outcome, kept.requestId, kept.fingerprint));
        this.refuseExpired(kept.requestId, writes.storeManifest.horizonMs);
      }
      for (const check of expectations) check(rows, writes);
      const inputsBefore = manifests.runtime && versionText(epoch, writes.runtimeManifest.inputsSequence);
      refuseChangedInputs(request, inputsBefore);

      const edits = change.decide(rows);
      if (!edits) return nothingWritten(undefined);
      const keptInputs = this.apply(edits, rows, writes);
      const only = edits.length === 1 ? keptInputs[0] : undefined;
      const version = only?.version ?? versionText(epoch, sequence);
      const inputsAfter = writes.writesInputs ? versionText(epoch, sequence) : inputsBefore;
      const inputs = inputsBefore && inputsAfter ? { before: inputsBefore, after: inputsAfter } : undefined;
      if (kept) {
        const { method } = change;
        writes.put(kept.handle, encodeOutcome({ state: "applied", version, method, fingerprint: kept.fingerprint }));
      }
      return {
        writes: writes.close(),
        result: { version, replayed: false, keptInputs, inputs },
        freesSpace: edits.every(({ value }) => value === undefined),
      };
    };
    return this.track(requestId, () => this.engine.commit({ reads, bytes: change.bytes, decide }));
  }

  /** Returns the state of a request id. With `seal`, a request that was not applied can never be applied later. */
  async status(
    text: string,
    seal: boolean,
  ): Promise<Outcome | { readonly state: "pending" | "not_found" | "expired" }> {
    const requestId = parseRequestId(text, this.now());
    const reads = new ReadSet();
    const handle = reads.add({ table: "outcome", requestId: requestId.text });
    const manifests = { store: reads.add(STORE_MANIFEST_KEY) };
    const known = (writes: WriteSet): Outcome | { readonly state: "expired" } | undefined => {
      const outcome = writes.read(handle, decodeOutcome);
      if (outcome) return outcome;
      return this.isExpired(requestId, writes.storeManifest.horizonMs) ? { state: "expired" } : undefined;
    };
    if (!seal) {
      const rows = await this.engine.view((view) =>
        Promise.all(reads.handles.map(async ({ key }) => ({ row: await view.get(key) }))),
      );
      const status = known(new WriteSet(new ReadRows(rows), manifests, 0));
      return status ?? { state: this.working.has(requestId.text) ? "pending" : "not_found" };
    }
    return this.engine.commit({
      reads,
      bytes: 0,
      decide: (rows, sequence) => {
        const writes = new WriteSet(rows, manifests, sequence);
        const status = known(writes);
        if (status) return nothingWritten(status);
        writes.put(handle, encodeOutcome({ state: "sealed" }));
        return { writes: writes.close(), result: { state: "sealed" } as const, freesSpace: false };
      },
    });
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

  /** Puts the edits into the write set. An input row that equals the stored one is left out, and returned. */
  private apply(edits: readonly RowEdit[], rows: RowReader, writes: WriteSet): KeptInput[] {
    const kept: KeptInput[] = [];
    for (const { handle, value, document } of edits) {
      const { key } = handle;
      const stored = key.table === "input" ? rows.get(handle) : undefined;
      if (key.table === "input" && value && stored && Buffer.compare(stored.value, value) === 0) {
        kept.push({ inputId: key.inputId, version: versionText(this.engine.epoch, stored.sequence) });
      } else if (value) {
        writes.put(handle, value, document);
      } else {
        writes.delete(handle);
      }
    }
    return kept;
  }

  private requestIdOf({ requestId, expectedStoreId }: Mutation): RequestId | undefined {
    if (expectedStoreId !== undefined && expectedStoreId !== this.engine.storeId) {
      throw writeFailed("STORE_REPLACED", `expected store ${expectedStoreId}, this is store ${this.engine.storeId}`, {
        record: "expected_store_id",
        expected: expectedStoreId,
        actual: this.engine.storeId,
      });
    }
    return requestId === undefined ? undefined : parseRequestId(requestId, this.now());
  }

  private replay(outcome: Outcome, requestId: RequestId, expected: Uint8Array): Committed {
    if (outcome.state === "sealed") {
      throw refusedId("REQUEST_ID_SEALED", requestId, "was sealed by GetCommit and can never be applied");
    }
    if (Buffer.compare(outcome.fingerprint, expected) !== 0) {
      throw refusedId("REQUEST_ID_REUSED", requestId, `was already used for another request (${outcome.method})`);
    }
    return { version: outcome.version, replayed: true, keptInputs: [] };
  }

  private isExpired(requestId: RequestId, horizonMs: number): boolean {
    return requestId.timeMs < Math.max(horizonMs, this.now() - this.maxAgeMs);
  }

  /** The outcome of an id this old may have been deleted: it is not known whether the request was applied. */
  private refuseExpired(requestId: RequestId, horizonMs: number): void {
    if (this.isExpired(requestId, horizonMs)) {
      throw refusedId("REQUEST_ID_EXPIRED", requestId, "is older than the outcomes that are kept");
    }
  }
}

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
  reason: "REQUEST_ID_SEALED" | "REQUEST_ID_REUSED" | "REQUEST_ID_EXPIRED",
  requestId: RequestId,
  what: string,
): StoreError =>
  writeFailed(reason, `request id ${requestId.text} ${what}`, { record: "request_id", actual: requestId.text });
