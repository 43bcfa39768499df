import { randomUUID } from "node:crypto";
import type { InputId, InputStatePiece, Limits, RuntimeId, UploadInputStates } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { uuidFromBytes, uuidToBytes } from "@bolthole/json";
import { WRITTEN } from "../commit/outcome.js";
import { type MergedRows, StaleRowsError } from "../commit/row-set.js";
import { type Engine, type StagedRows, StaleBaseError } from "../engine.js";
import { invalid, tooLarge } from "../validate.js";
import { YieldBudget } from "../yield-budget.js";
import { type InputRow, type RowRules, checkedMessage, checkedRow } from "./checked-rows.js";
import type { LongRows } from "./long-rows.js";
import { mergedSlices, readManifest } from "./merged-rows.js";
import { RowSetHash } from "./row-set-hash.js";

/** Input rows that were received before the commit that names them, merged with the row set of their runtime. */
export interface InputUpload {
  readonly id: string;
  readonly runtimeId: RuntimeId;
  /** The SHA-256 of all rows: the same for the same rows, in every upload. */
  readonly digest: Uint8Array;
  /** The ids of the rows, in their order. */
  readonly inputIds: UploadedIds;
  /** The merged row set. Undefined after the commit that used it. */
  readonly merged: MergedRows | undefined;
}

interface Entry extends InputUpload {
  merged: MergedRows | undefined;
  /** The rows that the engine holds for the upload. Undefined when a commit has taken them, or when they were discarded. */
  staged: StagedRows | undefined;
  /** The size of the uploaded rows. */
  readonly bytes: number;
  /** The size of the stored rows that are staged beside them. */
  readonly keptBytes: number;
  /** The number of commits that are using it. */
  users: number;
  readonly idleTimer: NodeJS.Timeout;
}

/** The most uploads that are kept after their commit, for a repeated request whose first response was lost. */
const MAX_USED = 64;

/**
 * Input rows that were received in a stream before the commit that uses them. The engine stores them while they arrive, where
 * no reader sees them. An upload that is not used is dropped after `Limits.uploadIdleSeconds`, or when the process ends.
 *
 * All unused uploads together stay within `Limits.inputUploadBytes`. The stored rows that are staged beside the uploaded ones
 * count, too, but only for the other uploads: a runtime whose rows exceed the limit can still be uploaded to.
 */
export class InputUploads {
  private readonly entries = new Map<string, Entry>();
  private receivedBytes = 0;
  private keptBytes = 0;
  private assembledBytes = 0;

  constructor(
    private readonly engine: Engine,
    private readonly limits: Limits,
    private readonly longRows: LongRows,
  ) {}

  /** Receives rows and returns the id of the upload. The declared number is checked before any row is read. */
  async receive({ runtimeId, rowCount, parts }: UploadInputStates): Promise<string> {
    const { inputUploadRows } = this.limits;
    if (!Number.isSafeInteger(rowCount) || rowCount < 1) {
      throw invalid(writeFailed, "upload.row_count", "at least 1", String(rowCount));
    }
    if (rowCount > inputUploadRows) {
      const remedy = "write the rows in several mutations, or raise the daemon's --max-input-upload-rows";
      throw tooLarge(writeFailed, "upload.row_count", inputUploadRows, rowCount, "rows", remedy);
    }
    const base = await readManifest(this.engine, runtimeId);
    const received = new ReceivedRows(rowCount);
    let bytes = 0;
    let keptBytes = 0;
    const count = (row: InputRow): void => {
      bytes += row.value.length;
      this.receivedBytes += row.value.length;
      this.refuseBeyondBudget(runtimeId, bytes);
    };
    const countKept = (size: number): void => {
      keptBytes += size;
      this.keptBytes += size;
      this.refuseBesideOthers(runtimeId, bytes + keptBytes);
    };
    try {
      const rules = { runtimeId, limits: this.limits, longRows: this.longRows };
      const rows = this.checkedRows(rules, parts, received, count);
      const slices = mergedSlices(this.engine, runtimeId, base, rows, {
        // One response, and one stored outcome, lists all kept rows.
        keepsEqual: rowCount <= this.limits.batchRows,
        merged: (kept) => {
          received.merged(kept?.sequence ?? WRITTEN);
        },
        kept: countKept,
      });
      const staged = await this.engine.stageRows(runtimeId, slices);
      const { inputIds, keptSequences, writesRows } = received;
      return this.add({
        runtimeId,
        digest: received.digest(),
        inputIds,
        merged: { staged, base, keptSequences, writesRows },
        staged,
        bytes,
        keptBytes,
      });
    } catch (error) {
      this.release({ bytes, keptBytes });
      if (!(error instanceof StaleBaseError)) throw error;
      throw writeFailed("BUSY", "other rows of the runtime were written during the upload; upload the rows again", {
        runtimeId,
      });
    }
  }

  /**
   * Runs a commit with an upload. A commit that is applied uses the upload up; a refused one leaves it. The staged rows are not
   * discarded before every commit that names the upload has ended, because each of them may still make these rows the stored
   * ones. Throws UPLOAD_UNKNOWN when there is no such upload, or when the runtime has another row set than at the time of the
   * upload.
   */
  async using<T extends { readonly replayed: boolean }>(
    runtimeId: RuntimeId,
    id: string,
    commit: (upload: InputUpload) => Promise<T>,
  ): Promise<T> {
    const entry = this.entries.get(id);
    if (entry?.runtimeId !== runtimeId) throw unknownUpload(runtimeId, id);
    entry.users += 1;
    try {
      const { merged } = entry;
      const response = await commit(entry);
      if (!response.replayed && merged?.writesRows) entry.staged = undefined;
      if (entry.merged) this.setUsed(entry);
      return response;
    } catch (error) {
      if (!(error instanceof StaleRowsError)) throw error;
      this.remove(entry);
      throw unknownUpload(runtimeId, id, " any more, because other rows of it were written");
    } finally {
      await this.leave(entry);
    }
  }

  /** Ends the use of an upload by one commit. */
  private async leave(entry: Entry): Promise<void> {
    entry.users -= 1;
    const isListed = this.entries.has(entry.id);
    if (isListed) entry.idleTimer.refresh();
    if (entry.users === 0 && !(isListed && entry.merged)) await this.discard(entry);
  }

  private async *checkedRows(
    rules: RowRules,
    parts: UploadInputStates["parts"],
    received: ReceivedRows,
    count: (row: InputRow) => void,
  ): AsyncGenerator<InputRow> {
    const { runtimeId } = rules;
    const budget = new YieldBudget();
    let piecewise: RowInPieces | undefined;
    const accept = async (checked: InputRow | Promise<InputRow>): Promise<InputRow> => {
      const row = checked instanceof Promise ? await checked : checked;
      await received.accept(row);
      count(row);
      return row;
    };
    try {
      for await (const part of parts) {
        if (!("bytes" in part)) {
          if (piecewise) throw invalid(writeFailed, received.field, "the next piece of the row", "another row");
          for (const state of part) {
            yield await accept(checkedRow(rules, state, received.field));
            const wait = budget.spend();
            if (wait) await wait;
          }
          continue;
        }
        piecewise ??= this.beginPieces(runtimeId, part, received.field);
        piecewise.add(part, received.field);
        if (!piecewise.isComplete) continue;
        yield await accept(checkedMessage(rules, piecewise.memory, received.field));
        this.assembledBytes -= piecewise.length;
        piecewise = undefined;
      }
      if (piecewise) throw invalid(writeFailed, received.field, "all pieces of the row", "the end of the upload");
    } finally {
      if (piecewise) this.assembledBytes -= piecewise.length;
    }
    received.end();
  }

  private beginPieces(runtimeId: RuntimeId, { length }: InputStatePiece, field: string): RowInPieces {
    const { inputRowBytes, uploadBytes } = this.limits;
    // A message is about as long as its canonical JSON. The row itself is measured when it is complete.
    const most = 2 * inputRowBytes;
    if (!Number.isSafeInteger(length) || length < 1) {
      throw invalid(writeFailed, `${field}.length`, "at least 1", String(length));
    }
    if (length > most) throw tooLarge(writeFailed, `${field}.length`, most, length);
    if (this.assembledBytes + length > Math.max(uploadBytes, length)) {
      throw writeFailed("BUSY", "too many long rows are being uploaded; try again a little later", { runtimeId });
    }
    this.assembledBytes += length;
    return new RowInPieces(length);
  }

  private refuseBeyondBudget(runtimeId: RuntimeId, bytes: number): void {
    const { inputUploadBytes } = this.limits;
    if (bytes > inputUploadBytes) {
      const remedy = "write the rows in several mutations, or raise the daemon's --max-input-upload-size";
      throw tooLarge(writeFailed, "upload", inputUploadBytes, bytes, "bytes", remedy);
    }
    if (this.receivedBytes > inputUploadBytes) throw this.busy(runtimeId, this.receivedBytes);
  }

  /** Refuses an upload that has staged `own` bytes, with the stored rows, while all other ones exceed the limit. */
  private refuseBesideOthers(runtimeId: RuntimeId, own: number): void {
    const others = this.receivedBytes + this.keptBytes - own;
    if (others > this.limits.inputUploadBytes) throw this.busy(runtimeId, others);
  }

  private busy(runtimeId: RuntimeId, bytes: number): Error {
    const actual = `${String(bytes)} bytes`;
    const text = `the uploads of input rows that no commit has used yet have ${actual}; try again a little later`;
    return writeFailed("BUSY", text, {
      runtimeId,
      expected: `at most ${String(this.limits.inputUploadBytes)} bytes`,
      actual,
    });
  }

  private add(upload: Omit<Entry, "id" | "users" | "idleTimer">): string {
    const id = randomUUID();
    const idleTimer = setTimeout(() => {
      if (entry.users > 0) return;
      this.remove(entry);
      void this.discard(entry);
    }, this.limits.uploadIdleSeconds * 1000).unref();
    const entry: Entry = { ...upload, id, users: 0, idleTimer };
    this.entries.set(id, entry);
    return id;
  }

  /** Keeps the digest and the ids of an upload, and moves it to the end of the list. */
  private setUsed(entry: Entry): void {
    entry.merged = undefined;
    if (!this.entries.delete(entry.id)) return;
    this.entries.set(entry.id, entry);
    this.release(entry);
    const used = [...this.entries.values()].filter(({ merged }) => !merged);
    for (const old of used.slice(0, Math.max(0, used.length - MAX_USED))) this.remove(old);
  }

  private remove(entry: Entry): void {
    if (!this.entries.delete(entry.id)) return;
    clearTimeout(entry.idleTimer);
    if (entry.merged) this.release(entry);
  }

  private release({ bytes, keptBytes }: Pick<Entry, "bytes" | "keptBytes">): void {
    this.receivedBytes -= bytes;
    this.keptBytes -= keptBytes;
  }

  private async discard(entry: Entry): Promise<void> {
    const { staged } = entry;
    entry.merged = undefined;
    entry.staged = undefined;
    if (staged) await this.engine.discardRows(staged);
  }
}

export const unknownUpload = (runtimeId: RuntimeId, id: string, problem = ""): Error =>
  writeFailed("UPLOAD_UNKNOWN", `there is no upload ${id} for this runtime${problem}; upload the rows again`, {
    runtimeId,
    record: "input_upload_id",
    actual: id,
  });

/** Checks the order and the number of the rows of an upload, and collects what its commit needs. */
class ReceivedRows {
  readonly inputIds = new UploadedIds();
  writesRows = false;
  private readonly hash = new RowSetHash();
  private readonly sequences: number[] = [];
  private lastId: InputId | undefined;

  constructor(private readonly rowCount: number) {}

  /** The name of the next row in errors. */
  get field(): string {
    return `states[${String(this.inputIds.length)}]`;
  }

  get keptSequences(): readonly number[] {
    return this.sequences.every((sequence) => sequence === WRITTEN) ? [] : this.sequences;
  }

  async accept({ key: { inputId }, value }: InputRow): Promise<void> {
    const { field, lastId } = this;
    if (this.inputIds.length === this.rowCount) {
      throw invalid(writeFailed, "upload.row_count", `${String(this.rowCount)} rows, as declared`, "more");
    }
    if (lastId !== undefined && inputId <= lastId) {
      throw invalid(
        writeFailed,
        `${field}.input_id`,
        `an id after ${lastId}, because the rows are in ascending order`,
        inputId,
      );
    }
    this.lastId = inputId;
    this.inputIds.add(inputId);
    await this.hash.add(inputId, value);
  }

  merged(sequence: number): void {
    this.sequences.push(sequence);
    this.writesRows ||= sequence === WRITTEN;
  }

  /** Call it after the last row. */
  end(): void {
    const { length } = this.inputIds;
    if (length === this.rowCount) return;
    throw invalid(writeFailed, "upload.row_count", `${String(this.rowCount)} rows, as declared`, String(length));
  }

  digest(): Uint8Array {
    return this.hash.digest();
  }
}

/** A row that arrives as pieces of its message. */
class RowInPieces {
  /** The message of the row. It belongs to the worker that converts the complete one. */
  readonly memory: Uint8Array<ArrayBuffer>;
  private at = 0;

  constructor(readonly length: number) {
    this.memory = Buffer.allocUnsafeSlow(length);
  }

  get isComplete(): boolean {
    return this.at === this.length;
  }

  add({ length, bytes }: InputStatePiece, field: string): void {
    if (length !== this.length) {
      throw invalid(writeFailed, `${field}.length`, `${String(this.length)} in every piece of the row`, String(length));
    }
    if (this.at + bytes.length > length) {
      throw invalid(writeFailed, `${field}.bytes`, `${String(length)} bytes in all pieces together`, "more");
    }
    this.memory.set(bytes, this.at);
    this.at += bytes.length;
  }
}

const ID_BYTES = 16;

/** A list of input ids, 16 bytes each: an upload may have hundreds of thousands. */
export class UploadedIds {
  length = 0;
  private bytes = Buffer.alloc(64 * ID_BYTES);

  add(inputId: InputId): void {
    const end = (this.length + 1) * ID_BYTES;
    if (end > this.bytes.length) this.bytes = Buffer.concat([this.bytes], 2 * this.bytes.length);
    this.bytes.set(uuidToBytes(inputId), this.length * ID_BYTES);
    this.length += 1;
  }

  at(index: number): InputId | undefined {
    if (index >= this.length) return undefined;
    return uuidFromBytes(this.bytes.subarray(index * ID_BYTES, (index + 1) * ID_BYTES));
  }
}
