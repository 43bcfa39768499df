import type { InputsVersions, KeptInput, Mutation, RuntimeMutation, StoreError, Version } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { WriteSet } from "./write-set.js";
import type { Decision, Engine, Row, RowKey, StagedDocument } from "../engine.js";
import { expectationArguments, expectationsOf, runtimeManifestKey } from "./expectations.js";
import { type Argument, type Outcome, decodeOutcome, encodeOutcome, fingerprint } from "./outcome.js";
import { type RequestId, parseRequestId } from "./request-id.js";
import { verifiedValue } from "./row.js";
import { EMPTY_STORE_MANIFEST, decodeStoreManifest } from "./store-manifest.js";
import { versionText } from "./version.js";

/** What a rule decides about one of the rows that its change named: a new value, or a deletion. */
export interface RowEdit {
  /** Into `Change.rows`. */
  readonly row: number;
  readonly value: Uint8Array | undefined;
  readonly document?: StagedDocument | undefined;
}

/** One mutation, checked and ready for the writer. */
export interface Change {
  /** The RPC's name; kept with the outcome. */
  readonly method: string;
  readonly mutation: Mutation | RuntimeMutation;
  /** The arguments in normal form, for telling a retry from another request. */
  readonly args: readonly Argument[];
  /** Every row that `decide` looks at or edits. */
  readonly rows: readonly RowKey[];
  /** The version that all input rows of the runtime must have together; otherwise INPUT_NOT_CURRENT. */
  readonly unchangedInputs?: Version | undefined;
  /** About how many bytes of values it writes. */
  readonly bytes: number;
  /** Pure. Undefined: the caller's compare-and-set missed, nothing is written and no outcome is kept. */
  decide(rows: readonly (Row | undefined)[]): readonly RowEdit[] | undefined;
}

export interface Committed {
  readonly version: Version;
  readonly replayed: boolean;
  readonly keptInputs: readonly KeptInput[];
  /** Absent when replayed, and for mutations that are of no runtime. */
  readonly inputs?: InputsVersions | undefined;
}

/**
 * Takes changes through the writer: request outcome, expectations, the rule, and then the books. Everything that all
 * mutations share is here, so that a rule says only what is its own.
 */
export class Committer {
  private readonly working = new Map<string, number>();

  constructor(
    private readonly engine: Engine,
    /** How old a request id may be whose outcome is not stored. */
    private readonly maxAgeMs: number,
    private readonly now: () => number,
  ) {}

  /** Whether a mutation with this request id is being worked on. */
  isPending(requestId: string): boolean {
    return this.working.has(requestId);
  }

  /**
   * The answer that is kept of this mutation's request id, if there is one. Session rules ask first, because what they
   * prepare would be refused over the state that the first call left.
   */
  async replayed(change: Pick<Change, "method" | "mutation" | "args">): Promise<Committed | undefined> {
    const requestId = this.requestIdOf(change.mutation);
    if (!requestId) return undefined;
    const key = { table: "outcome", requestId: requestId.text } as const;
    const row = await this.engine.view((view) => view.get(key));
    return row && this.replay(decodeOutcome(verifiedValue(key, row)), requestId, fingerprintOf(change));
  }

  /** While `work` goes on, the mutation's request id is pending. */
  async pendingDuring<T>(mutation: Mutation, work: () => Promise<T>): Promise<T> {
    return this.track(this.requestIdOf(mutation), work);
  }

  /** Undefined: the compare-and-set of `decide` missed. */
  async commit(change: Change): Promise<Committed | undefined> {
    const requestId = this.requestIdOf(change.mutation);
    const print = requestId && fingerprintOf(change);
    const { epoch } = this.engine;
    const expectations = expectationsOf(change.mutation, epoch);

    const reads = [...change.rows];
    const at = (key: RowKey): number => reads.push(key) - 1;
    const tallyAt = at({ table: "storeManifest" });
    const head = runtimeManifestKey(change.mutation);
    const headAt = head && at(head);
    const outcomeAt = requestId ? at({ table: "outcome", requestId: requestId.text }) : -1;
    const expectedAt = expectations.map(({ key }) => at(key));

    const decide = (rows: readonly (Row | undefined)[], sequence: number): Decision<Committed | undefined> => {
      const book = new WriteSet(reads, rows, sequence);
      if (requestId && print) {
        const outcome = book.read(outcomeAt, decodeOutcome);
        if (outcome) return { writes: [], result: this.replay(outcome, requestId, print), freesSpace: false };
        this.refuseExpired(requestId, (book.read(tallyAt, decodeStoreManifest) ?? EMPTY_STORE_MANIFEST).horizonMs);
      }
      expectations.forEach(({ check }, index) => {
        const row = expectedAt[index] ?? -1;
        check(rows[row], () => book.read(row, (value) => value));
      });
      const inputsBefore = headAt === undefined ? undefined : versionText(epoch, book.head(headAt).inputsSequence);
      if (change.unchangedInputs !== undefined && change.unchangedInputs !== inputsBefore) {
        throw inputsMoved(change.mutation, change.unchangedInputs, inputsBefore);
      }

      const edits = change.decide(rows);
      if (!edits) return { writes: [], result: undefined, freesSpace: false };
      const keptInputs = this.apply(edits, change.rows, book);
      const only = edits.length === 1 ? keptInputs[0] : undefined;
      const version = only?.version ?? versionText(epoch, sequence);
      const inputs =
        inputsBefore === undefined
          ? undefined
          : { before: inputsBefore, after: book.writesInputs() ? versionText(epoch, sequence) : inputsBefore };
      if (print) {
        book.put(outcomeAt, encodeOutcome({ state: "applied", version, method: change.method, fingerprint: print }));
      }
      return {
        writes: book.close(headAt, tallyAt),
        result: { version, replayed: false, keptInputs, inputs },
        freesSpace: edits.every(({ value }) => value === undefined),
      };
    };
    return this.track(requestId, () => this.engine.commit({ reads, bytes: change.bytes, decide }));
  }

  /** What became of a request id; with `seal`, one that was not applied never will be. */
  async status(
    text: string,
    seal: boolean,
  ): Promise<Outcome | { readonly state: "pending" | "not_found" | "expired" }> {
    const requestId = parseRequestId(text, this.now());
    const key = { table: "outcome", requestId: requestId.text } as const;
    const reads: RowKey[] = [key, { table: "storeManifest" }];
    const known = (book: WriteSet): Outcome | { readonly state: "expired" } | undefined => {
      const outcome = book.read(0, decodeOutcome);
      if (outcome) return outcome;
      return this.isExpired(requestId, (book.read(1, decodeStoreManifest) ?? EMPTY_STORE_MANIFEST).horizonMs)
        ? { state: "expired" }
        : undefined;
    };
    if (!seal) {
      const rows = await this.engine.view((view) => Promise.all(reads.map((one) => view.get(one))));
      return known(new WriteSet(reads, rows, 0)) ?? { state: this.isPending(requestId.text) ? "pending" : "not_found" };
    }
    return this.engine.commit({
      reads,
      bytes: 0,
      decide: (rows, sequence) => {
        const book = new WriteSet(reads, rows, sequence);
        const answer = known(book);
        if (answer) return { writes: [], result: answer, freesSpace: false };
        book.put(0, encodeOutcome({ state: "sealed" }));
        return { writes: book.close(undefined, 1), result: { state: "sealed" } as const, freesSpace: false };
      },
    });
  }

  private async track<T>(requestId: RequestId | undefined, work: () => Promise<T>): Promise<T> {
    if (!requestId) return work();
    this.working.set(requestId.text, (this.working.get(requestId.text) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const left = (this.working.get(requestId.text) ?? 1) - 1;
      if (left === 0) this.working.delete(requestId.text);
      else this.working.set(requestId.text, left);
    }
  }

  /** Writes the edits but those input rows that equal the stored ones, and names these. */
  private apply(edits: readonly RowEdit[], keys: readonly RowKey[], book: WriteSet): KeptInput[] {
    const kept: KeptInput[] = [];
    for (const { row, value, document } of edits) {
      const key = keys[row];
      const stored = book.sequenceOf(row);
      if (key?.table === "input" && value && stored !== undefined && book.holds(row, value)) {
        kept.push({ inputId: key.inputId, version: versionText(this.engine.epoch, stored) });
      } else if (value) {
        book.put(row, value, document);
      } else {
        book.delete(row);
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

  private replay(outcome: Outcome, requestId: RequestId, print: Uint8Array): Committed {
    if (outcome.state === "sealed") {
      throw refusedId("REQUEST_ID_SEALED", requestId, "was sealed by GetCommit and can never be applied");
    }
    if (Buffer.compare(outcome.fingerprint, print) !== 0) {
      throw refusedId("REQUEST_ID_REUSED", requestId, `was already used for another request (${outcome.method})`);
    }
    return { version: outcome.version, replayed: true, keptInputs: [] };
  }

  private isExpired(requestId: RequestId, horizonMs: number): boolean {
    return requestId.timeMs < Math.max(horizonMs, this.now() - this.maxAgeMs);
  }

  /** An outcome this old may have been forgotten: whether the request was applied cannot be told any more. */
  private refuseExpired(requestId: RequestId, horizonMs: number): void {
    if (this.isExpired(requestId, horizonMs)) {
      throw refusedId("REQUEST_ID_EXPIRED", requestId, "is older than the outcomes that are kept");
    }
  }
}

const fingerprintOf = ({ method, mutation, args }: Pick<Change, "method" | "mutation" | "args">): Uint8Array =>
  fingerprint(method, [...expectationArguments(mutation), ...args]);

const inputsMoved = (mutation: Mutation | RuntimeMutation, expected: Version, actual = "none"): StoreError =>
  writeFailed("INPUT_NOT_CURRENT", `input rows were written since version ${expected}; send the rows themselves`, {
    runtimeId: "runtimeId" in mutation ? mutation.runtimeId : undefined,
    record: "unchanged_inputs",
    expected,
    actual,
  });

const refusedId = (
  reason: "REQUEST_ID_SEALED" | "REQUEST_ID_REUSED" | "REQUEST_ID_EXPIRED",
  requestId: RequestId,
  what: string,
): StoreError =>
  writeFailed(reason, `request id ${requestId.text} ${what}`, { record: "request_id", actual: requestId.text });
