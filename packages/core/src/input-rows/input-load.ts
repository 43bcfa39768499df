import type { LoadedInputStates, RuntimeId, StoredInputState, Versioned } from "@bolthole/contract";
import { StoreError, readFailed } from "@bolthole/contract";
import { readInputState, readStoredInputState } from "@bolthole/json";
import { isExternalRow } from "../commit/external-rows.js";
import {
  EMPTY_RUNTIME_MANIFEST,
  type RuntimeManifest,
  decodeRuntimeManifest,
  differenceText,
  isSameDigest,
  isSameInputs,
  runtimeManifestOf,
} from "../commit/manifests.js";
import type { RowSetDigest } from "../commit/row-set.js";
import { damaged, decodeRow, decodeRowLater, isSameRow, versionText } from "../commit/row.js";
import type { KeyOf, Row, RowKey, RowSetKey, View } from "../engine.js";
import { type StoreContext, versionOf } from "../store-context.js";
import { YieldBudget } from "../yield-budget.js";
import { type ReadLongRow, isLongValue } from "./long-rows.js";
import { PAGE_BYTES, type PageEntry, type PagedRows, RowPages, isLeftOut } from "./row-pages.js";

type InputPages = RowPages<KeyOf<"input">>;
type InputEntry = PageEntry<KeyOf<"input">>;

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

/** Decodes an input row of a page, and a long one on a worker. Throws DAMAGED_RECORD, and the error of a row that was written since. */
export const decodeEntry = <K extends RowSetKey>(
  { longRows }: Pick<StoreContext, "longRows">,
  pages: RowPages<K>,
  entry: PageEntry<K>,
): StoredInputState | Promise<StoredInputState> =>
  isLeftOut(entry)
    ? longRows.whenFree(async (read) => decodeLongRow(entry.key, await pages.readAgain(entry), read))
    : decodeRow(entry.key, entry.row, decodeInputState);

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
  const rows = new LoadedRows(runtimeId, attempt);
  const pages: InputPages = new RowPages(context.heldViews, rows);
  let first: readonly InputEntry[];
  try {
    first = await pages.next();
  } catch (error) {
    pages.close();
    throw error;
  }
  const { manifest } = rows;
  return {
    inputsVersion: manifest ? versionText(context.engine.epoch, manifest.inputsSequence) : "",
    batches: batches(context, first, pages, attempt),
    failures,
  };
}

/**
 * The input rows of a runtime, compared with the runtime manifest: a row that vanished is damage, too. A load ends with BUSY
 * when an input row was written before all of them were read.
 */
class LoadedRows implements PagedRows<KeyOf<"input">> {
  readonly tables = ["input"] as const;
  /** Undefined when the manifest is damaged, which was reported. */
  manifest: RuntimeManifest | undefined;
  private manifestRow: Row | undefined;

  constructor(
    readonly runtimeId: RuntimeId,
    private readonly attempt: Attempt,
  ) {}

  async start(view: View): Promise<void> {
    const { key } = this;
    const row = await view.get(key);
    this.manifestRow = row;
    this.manifest = row ? await this.attempt(() => decodeRow(key, row, decodeRuntimeManifest)) : EMPTY_RUNTIME_MANIFEST;
  }

  async isCurrent(view: View): Promise<boolean> {
    const row = await view.get(this.key);
    if (isSameRow(row, this.manifestRow)) return true;
    return this.manifest !== undefined && isSameInputs(runtimeManifestOf(this.key, row), this.manifest);
  }

  changed(): Error {
    const text =
      "input states were written while they were loaded, and the load took too long to show one state; load again";
    return readFailed("BUSY", text, { runtimeId: this.runtimeId, record: "input states" });
  }

  scan<T>(_table: "input", scan: () => Promise<T>): Promise<T> {
    return scan();
  }

  async end({ input: found }: RowSetDigest): Promise<void> {
    const { manifest } = this;
    if (!manifest || isSameDigest(found, manifest.input)) return;
    await this.attempt(() => {
      throw damaged(this.key, `does not match the input states: ${differenceText(manifest.input, found)}`);
    });
  }

  private get key(): KeyOf<"runtimeManifest"> {
    return { table: "runtimeManifest", runtimeId: this.runtimeId };
  }
}

async function* batches(
  context: StoreContext,
  first: readonly InputEntry[],
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
  page: readonly InputEntry[],
  pages: InputPages,
  attempt: Attempt,
): AsyncGenerator<InputBatch> {
  const budget = new YieldBudget();
  let batch: Versioned<StoredInputState>[] = [];
  let bytes = 0;
  for (const entry of page) {
    if (bytes + entry.bytes > PAGE_BYTES && batch.length > 0) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    const value = await attempt(() => decodeEntry(context, pages, entry));
    if (value) batch.push({ value, version: versionOf(context, entry.row) });
    bytes += entry.bytes;
    const wait = budget.spend();
    if (wait) await wait;
  }
  if (batch.length > 0) yield batch;
}
