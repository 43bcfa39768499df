import { setImmediate as nextTurn } from "node:timers/promises";
import type { ByteRange, RuntimeId } from "@bolthole/contract";
import type { Document, Engine, EngineStats, Entry, KeyOf, Range, RowKey, Unit, View } from "@bolthole/core";
import { Moved, assembleInTurns, crc32InTurns } from "@bolthole/core";
import { Environment, type ReadTransaction } from "./environment.js";
import { FORMAT_VERSION, claimFormat, loadIdentity } from "./format.js";
import { GroupWriter, type WholeDocument } from "./group-writer.js";
import {
  SEQUENCE_KEY,
  TABLES,
  encodeKey,
  inputBounds,
  outcomeBounds,
  parseRuntimeKey,
  pieceKey,
  receiptBounds,
  runtimeBounds,
  trailingReceipt,
  trailingUuid,
} from "./keys.js";
import { type StoredRow, decodeRecord } from "./record.js";

export interface LmdbOptions {
  /** Called once, when a write or flush failed: nothing may be written any more, and the process should end. */
  readonly onFailure?: ((cause: unknown) => void) | undefined;
}

/** Rows in one LMDB environment, written by one writer in groups. */
export class LmdbEngine implements Engine {
  readonly name = "lmdb";
  readonly durable = true;

  private constructor(
    readonly storeId: string,
    readonly epoch: string,
    private readonly environment: Environment,
    private readonly writer: GroupWriter,
  ) {}

  /** The folder must exist, and belong to this process alone while the engine is open. */
  static async open(folder: string, options: LmdbOptions = {}): Promise<LmdbEngine> {
    claimFormat(folder);
    const environment = new Environment(folder);
    try {
      const { storeId, epoch } = await loadIdentity(environment);
      const sequence = environment.get(SEQUENCE_KEY)?.readDoubleLE() ?? 0;
      return new LmdbEngine(storeId, epoch, environment, new GroupWriter(environment, sequence, options.onFailure));
    } catch (error) {
      await environment.close();
      throw error;
    }
  }

  async view<T>(read: (view: View) => Promise<T>): Promise<T> {
    const transaction = this.environment.read();
    try {
      return await read(viewOf(transaction));
    } finally {
      transaction.done();
    }
  }

  async stage(runtimeId: RuntimeId, base: number | undefined, document: Document): Promise<WholeDocument> {
    let stored: Buffer | undefined;
    if (document.some((part) => !(part instanceof Uint8Array))) {
      stored = await this.view(async (view) => {
        const row = await view.get({ table: "snapshot", runtimeId });
        if (row?.sequence !== base) throw new Moved();
        const chunks: Uint8Array[] = [];
        for await (const chunk of await view.document(runtimeId)) chunks.push(chunk);
        return Buffer.concat(chunks);
      });
    }
    const bytes = await assembleInTurns(document, stored);
    return { length: bytes.length, crc32: await crc32InTurns(bytes), bytes };
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  commit<T>(unit: Unit<T>): Promise<T> {
    return this.writer.commit(unit);
  }

  stats(): Promise<EngineStats> {
    return Promise.resolve({
      formatVersion: FORMAT_VERSION,
      storedBytes: this.environment.storedBytes(),
      commitSequence: this.writer.sequence,
    });
  }

  async close(): Promise<void> {
    await this.writer.close();
    await this.environment.close();
  }
}

const PIECES_A_TURN = 8;

function viewOf(transaction: ReadTransaction): View {
  const row = (key: RowKey): StoredRow | undefined => {
    const record = transaction.get(encodeKey(key));
    return record && decodeRecord(record);
  };
  return {
    get: (key) => Promise.resolve(row(key)),
    scan: <R extends Range>(range: R, limit: number) =>
      // The switch inside gives each table its own kind of key, which the compiler cannot follow.
      Promise.resolve(scan(transaction, range, limit) as Entry<KeyOf<R["table"]>>[]),
    document: async (runtimeId, range) => {
      const snapshot = row({ table: "snapshot", runtimeId });
      const pieces: Uint8Array[] = [];
      for (let index = 0; index < (snapshot?.pieces ?? 0); index += 1) {
        // Others get a turn, so that a large document does not hold the event loop.
        if (index % PIECES_A_TURN === PIECES_A_TURN - 1) await nextTurn();
        // A missing piece shows in the document's length and checksum.
        const piece = transaction.get(pieceKey(snapshot?.sequence ?? 0, index));
        if (piece) pieces.push(piece);
      }
      return range ? each([stretch(Buffer.concat(pieces), range)]) : each(pieces);
    },
  };
}

const stretch = (bytes: Buffer, { offset, length }: ByteRange): Buffer => bytes.subarray(offset, offset + length);

// eslint-disable-next-line @typescript-eslint/require-await -- the bytes are there already; the port allows waiting for them
async function* each(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

function scan(transaction: ReadTransaction, range: Range, limit: number): Entry[] {
  switch (range.table) {
    case "input":
      return collect(transaction, inputBounds(range.runtimeId, range.after), limit, (key) => ({
        table: "input",
        runtimeId: range.runtimeId,
        inputId: trailingUuid(key),
      }));
    case "receipt":
      return collect(transaction, receiptBounds(range.runtimeId, range.after), limit, (key) => ({
        table: "receipt",
        runtimeId: range.runtimeId,
        ...trailingReceipt(key),
      }));
    case "outcome":
      return collect(transaction, outcomeBounds(range.after), limit, (key) => ({
        table: "outcome",
        requestId: trailingUuid(key),
      }));
    case "head":
      return scanHeads(transaction, range.after, limit);
  }
}

function collect(
  transaction: ReadTransaction,
  { start, end }: { start: Buffer; end: Buffer },
  limit: number,
  keyOf: (key: Buffer) => RowKey,
): Entry[] {
  const entries: Entry[] = [];
  for (const { key, value } of transaction.range(start, end)) {
    if (entries.length === limit) break;
    entries.push({ key: keyOf(key), row: decodeRecord(value) });
  }
  return entries;
}

/** Heads are the first rows of their runtimes: from one it jumps over the rest of the runtime to the next. */
function scanHeads(transaction: ReadTransaction, after: string | undefined, limit: number): Entry[] {
  const entries: Entry[] = [];
  let { start } = runtimeBounds(after);
  const { end } = runtimeBounds(undefined);
  while (entries.length < limit) {
    const [first] = transaction.range(start, end);
    if (!first) break;
    const { runtimeId, table, afterRuntime } = parseRuntimeKey(first.key);
    const row = decodeRecord(first.value);
    if (table === TABLES.head.number) {
      entries.push({ key: { table: "head", runtimeId: runtimeId ?? row.runtimeId ?? "" }, row });
    }
    start = afterRuntime;
  }
  return entries;
}
