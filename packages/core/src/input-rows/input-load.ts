import type { LoadedInputStates, RuntimeId, StoredInputState, Versioned } from "@bolthole/contract";
import { StoreError, readFailed } from "@bolthole/contract";
import { readInputState, readStoredInputState } from "@bolthole/json";
import { isExternalRow } from "../commit/external-rows.js";
import {
  EMPTY_RUNTIME_MANIFEST,
  NO_ROWS,
  type RuntimeManifest,
  decodeRuntimeManifest,
  isSameInputs,
  updateDigest,
} from "../commit/manifests.js";
import { damaged, decodeRow, decodeRowLater, isSameRow, versionText } from "../commit/row.js";
import type { KeyOf, Row, RowEntry, RowKey, View } from "../engine.js";
import type { HeldView } from "../held-views.js";
import { type StoreContext, versionOf } from "../store-context.js";
import { YieldBudget } from "../yield-budget.js";
import { type ReadLongRow, isLongValue } from "./long-rows.js";

/** A row of a page. The value of a long row is left out, and is read again when the worker is free. */
interface PageEntry extends RowEntry<KeyOf<"input">> {
  /** The length of the value. */
  readonly bytes: number;
}
const NO_BYTES = new Uint8Array();

type InputBatch = readonly Versioned<StoredInputState>[];

/** Runs a step of a load. Damage ends the load, or is collected; then the step returns undefined. */
type Attempt = <T>(work: () => T | Promise<T>) => Promise<T | undefined>;

const throwing: Attempt = async (work) => work();

/** Adds DAMAGED_RECORD errors to a list, and returns undefined instead of a result. */
const collecting =
  (failures: StoreError[]): Attempt =>
  async (work) => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
      failures.push(error);
      return undefined;
    }
  };

/** Decodes the value of an input row. Rows of the store itself are canonical JSON, which is read faster. */
export const decodeInputState = (value: Uint8Array, row: Row): StoredInputState =>
  isExternalRow(row) ? readInputState(value) : readStoredInputState(value);

/** Decodes an input row, and a long one on a worker. Throws DAMAGED_RECORD. */
export const inputStateOf = (
  { longRows }: Pick<StoreContext, "longRows">,
  { key, row }: RowEntry,
): StoredInputState | Promise<StoredInputState> =>
  isLongValue(row.value)
    ? longRows.whenFree((read) => decodeLongRow(key, row, read))
    : decodeRow(key, row, decodeInputState);

const decodeLongRow = (key: RowKey, row: Row, read: ReadLongRow): Promise<StoredInputState> =>
  decodeRowLater(key, row, (value) => read(value, isExternalRow(row)));

/**
 * Returns one input row. A long one is read again when the worker is free, so that any number of loads that wait for it need
 * little memory.
 */
export async function loadInput(
  context: StoreContext,
  key: KeyOf<"input">,
): Promise<Versioned<StoredInputState> | undefined> {
  const readRow = (): Promise<Row | undefined> => context.engine.view((view) => view.get(key));
  const row = await readRow();
  if (!row) return undefined;
  if (!isLongValue(row.value)) {
    return { value: decodeRow(key, row, decodeInputState), version: versionOf(context, row) };
  }
  return context.longRows.whenFree(async (read) => {
    const present = await readRow();
    return present && { value: await decodeLongRow(key, present, read), version: versionOf(context, present) };
  });
}

/**
 * Loads all input rows of a runtime page by page, all in one state. With `eachOutcome`, damage of a row is reported in
 * `failures` and does not end the load.
 */
export async function loadInputs(
  context: StoreContext,
  runtimeId: RuntimeId,
  eachOutcome: boolean,
): Promise<LoadedInputStates> {
  const failures: StoreError[] = [];
  const attempt = eachOutcome ? collecting(failures) : throwing;
  const pages = new InputPages(context, runtimeId, attempt);
  let first: readonly PageEntry[];
  try {
    first = await pages.next();
  } catch (error) {
    pages.close();
    throw error;
  }
  const { manifest } = pages;
  return {
    inputsVersion: manifest ? versionText(context.engine.epoch, manifest.inputsSequence) : "",
    batches: batches(context, first, pages, attempt),
    failures,
  };
}

/** The most rows of a page. Its message is encoded in a few milliseconds. */
const PAGE_ROWS = 512;
/** The most bytes of stored values in a batch of several rows, so that its message stays below 1 MiB on the wire. */
const BATCH_BYTES = 700_000;
/** How many bytes are read ahead when a view ends before all rows were read. */
const AHEAD_BYTES = 4 << 20;

/**
 * Reads the input rows of a runtime page by page, and compares them with the runtime manifest: a row that vanished is damage,
 * too. All pages show one state: one view is held open, and when its time has passed, another one is used only if no input
 * row was written in between. Otherwise the load ends with BUSY.
 */
class InputPages {
  /** Undefined when the manifest is damaged, which was reported. */
  manifest: RuntimeManifest | undefined;
  private manifestRow: Row | undefined;
  private isStarted = false;
  private hasAll = false;
  private view: HeldView | undefined;
  private after: KeyOf<"input"> | undefined;
  private digest = NO_ROWS;
  private readonly ahead: PageEntry[][] = [];
  private hasLongRows = false;

  constructor(
    private readonly context: StoreContext,
    private readonly runtimeId: RuntimeId,
    private readonly attempt: Attempt,
  ) {}

  /** Returns the next rows. An empty page means that there are no more. */
  async next(): Promise<readonly PageEntry[]> {
    if (this.ahead.length === 0 && !this.hasAll) await this.readAhead();
    return this.ahead.shift() ?? [];
  }

  close(): void {
    this.view?.close();
  }

  /** Decodes a long row, which was left out of its page. Throws BUSY when the row was written since, and DAMAGED_RECORD. */
  decodeLong({ key, row }: PageEntry): Promise<StoredInputState> {
    const { engine, longRows } = this.context;
    const readRow = (view: View): Promise<Row | undefined> => view.get(key);
    return longRows.whenFree(async (read) => {
      const { view } = this;
      const present = await (view && !view.hasEnded ? view.read(readRow) : engine.view(readRow));
      const isSame = present?.sequence === row.sequence && present.checksum === row.checksum;
      if (!isSame) throw this.changed();
      return decodeLongRow(key, present, read);
    });
  }

  private async readAhead(): Promise<void> {
    if (!this.view || this.view.hasEnded) {
      this.view?.close();
      this.view = this.context.heldViews.hold();
    }
    const { view } = this;
    await view.read(async (rows) => {
      if (!this.isStarted) await this.start(rows);
      else await this.refuseChange(rows);
      let bytes = 0;
      do bytes += await this.readPage(rows);
      while (!this.hasAll && view.hasEnded && bytes < AHEAD_BYTES);
    });
    if ((this.hasAll && !this.hasLongRows) || view.hasEnded) view.close();
    if (this.hasAll) await this.compareWithManifest();
  }

  private async start(view: View): Promise<void> {
    const key = { table: "runtimeManifest", runtimeId: this.runtimeId } as const;
    const row = await view.get(key);
    this.manifestRow = row;
    this.manifest = row ? await this.attempt(() => decodeRow(key, row, decodeRuntimeManifest)) : EMPTY_RUNTIME_MANIFEST;
    this.isStarted = true;
  }

  /** Throws BUSY when input rows were written since the first page. */
  private async refuseChange(view: View): Promise<void> {
    const key = { table: "runtimeManifest", runtimeId: this.runtimeId } as const;
    const row = await view.get(key);
    if (isSameRow(row, this.manifestRow)) return;
    const manifest = row ? decodeRow(key, row, decodeRuntimeManifest) : EMPTY_RUNTIME_MANIFEST;
    if (this.manifest && isSameInputs(manifest, this.manifest)) return;
    throw this.changed();
  }

  private changed(): Error {
    const text =
      "input states were written while they were loaded, and the load took too long to show one state; load again";
    return readFailed("BUSY", text, { runtimeId: this.runtimeId, record: "input states" });
  }

  /** Reads one page, and returns the number of its bytes. */
  private async readPage(view: View): Promise<number> {
    const { runtimeId, after } = this;
    const page = await view.scan({ table: "input", runtimeId, after }, PAGE_ROWS, BATCH_BYTES);
    let bytes = 0;
    const entries: PageEntry[] = [];
    for (const { key, row } of page) {
      const { length } = row.value;
      bytes += length;
      this.digest = updateDigest(this.digest, undefined, row);
      const isLong = isLongValue(row.value);
      this.hasLongRows ||= isLong;
      entries.push({ key, row: isLong ? { ...row, value: NO_BYTES } : row, bytes: length });
    }
    if (entries.length > 0) this.ahead.push(entries);
    this.after = page.at(-1)?.key ?? after;
    this.hasAll = page.length < PAGE_ROWS && bytes < BATCH_BYTES;
    return bytes;
  }

  private async compareWithManifest(): Promise<void> {
    const { manifest, digest } = this;
    if (!manifest || (digest.rows === manifest.input.rows && digest.sum === manifest.input.sum)) return;
    await this.attempt(() => {
      const key = { table: "runtimeManifest", runtimeId: this.runtimeId } as const;
      const expected = `${String(manifest.input.rows)} (sum of checksums ${String(manifest.input.sum)})`;
      const found = `${String(digest.rows)} (sum of checksums ${String(digest.sum)})`;
      throw damaged(key, `does not match the input states: expected ${expected}, found ${found}`);
    });
  }
}

async function* batches(
  context: StoreContext,
  first: readonly PageEntry[],
  pages: InputPages,
  attempt: Attempt,
): AsyncGenerator<InputBatch> {
  try {
    for (let page = first; page.length > 0; page = await pages.next()) yield* batchesOf(context, page, pages, attempt);
  } finally {
    pages.close();
  }
}

/** Decodes a page. A long row is a batch of its own. */
async function* batchesOf(
  context: StoreContext,
  page: readonly PageEntry[],
  pages: InputPages,
  attempt: Attempt,
): AsyncGenerator<InputBatch> {
  const budget = new YieldBudget();
  let batch: Versioned<StoredInputState>[] = [];
  let bytes = 0;
  for (const entry of page) {
    const { key, row } = entry;
    if (bytes + entry.bytes > BATCH_BYTES && batch.length > 0) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    const isLong = entry.bytes > row.value.length;
    const value = await attempt(() => (isLong ? pages.decodeLong(entry) : decodeRow(key, row, decodeInputState)));
    if (value) batch.push({ value, version: versionOf(context, row) });
    bytes += entry.bytes;
    const wait = budget.spend();
    if (wait) await wait;
  }
  if (batch.length > 0) yield batch;
}
