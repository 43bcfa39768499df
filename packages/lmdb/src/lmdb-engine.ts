import { setImmediate as nextTurn } from "node:timers/promises";
import { readFailed } from "@bolthole/contract";
import type { Engine, EngineStats, Entry, KeyOf, Range, RowKey, Unit, View } from "@bolthole/core";
import { DataFileRoom } from "./data-file-room.js";
import { Environment, EnvironmentFailure, type ReadTransaction, isDamage } from "./environment.js";
import { FORMAT_VERSION, claimFormat, loadIdentity } from "./format.js";
import { lookBeforeOpen } from "./look-before-open.js";
import { openFailure } from "./open-failure.js";
import { GroupWriter } from "./group-writer.js";
import {
  SEQUENCE_KEY,
  TABLES,
  encodeKey,
  inputBounds,
  outcomeBounds,
  parseRuntimeKey,
  pieceKey,
  runtimeBounds,
  trailingUuid,
} from "./keys.js";
import { type StoredRow, decodeRecord } from "./record.js";

export interface LmdbOptions {
  /** Called once, when a write or flush failed: nothing may be written any more, and the process should end. */
  readonly onFailure?: ((cause: unknown) => void) | undefined;
  /** How many bytes the store may hold; more is refused as QUOTA, clears go on. Without end unless given. */
  readonly quotaBytes?: number | undefined;
}

/** Rows in one LMDB environment, written by one writer in groups. */
export class LmdbEngine implements Engine {
  readonly name = "lmdb";
  readonly durable = true;

  private constructor(
    readonly storeId: string,
    readonly epoch: string,
    private readonly environment: Environment,
    private readonly room: DataFileRoom,
    private readonly writer: GroupWriter,
  ) {}

  /**
   * The folder must exist, and belong to this process alone while the engine is open. Throws an UnusableFolder, or a
   * FailedDisk.
   */
  static async open(folder: string, options: LmdbOptions = {}): Promise<LmdbEngine> {
    const { onFailure, quotaBytes = Infinity } = options;
    const undo: (() => Promise<void>)[] = [];
    try {
      claimFormat(folder);
      lookBeforeOpen(folder);
      const environment = new Environment(folder);
      undo.unshift(() => environment.close());
      const room = await DataFileRoom.open(folder, environment, quotaBytes);
      undo.unshift(() => room.close());
      const { storeId, epoch } = await loadIdentity(environment, room);
      const sequence = environment.get(SEQUENCE_KEY)?.readDoubleLE() ?? 0;
      const writer = new GroupWriter(environment, room, sequence, onFailure);
      return new LmdbEngine(storeId, epoch, environment, room, writer);
    } catch (error) {
      for (const close of undo) await close();
      throw openFailure(folder, error);
    }
  }

  async view<T>(read: (view: View) => Promise<T>): Promise<T> {
    const transaction = this.begin();
    try {
      return await read(viewOf(transaction));
    } catch (error) {
      throw orDamage(error);
    } finally {
      transaction.done();
    }
  }

  async commit<T>(unit: Unit<T>): Promise<T> {
    try {
      return await this.writer.commit(unit);
    } catch (error) {
      throw orDamage(error);
    }
  }

  async stats(): Promise<EngineStats> {
    this.begin().done();
    const { end, pageBytes } = this.environment.pages();
    return {
      formatVersion: FORMAT_VERSION,
      storedBytes: end * pageBytes,
      ...(await this.room.look()),
      commitSequence: this.writer.sequence,
    };
  }

  async close(): Promise<void> {
    await this.writer.close();
    await this.room.close();
    await this.environment.close();
  }

  /** The native library may know of a failed write before its writer does; then a reader is the first to hear of it. */
  private begin(): ReadTransaction {
    this.writer.refuseReadsAfterFailure();
    try {
      return this.environment.read();
    } catch (error) {
      if (!(error instanceof EnvironmentFailure)) throw error;
      if (error.isCrowded)
        throw readFailed("BUSY", "too many states of the store are being read; try again", { cause: error });
      this.writer.stop(error.cause);
      this.writer.refuseReadsAfterFailure();
      throw error;
    }
  }
}

/** The tree of the data file itself is broken: no record can be named. */
const orDamage = (error: unknown): unknown =>
  isDamage(error)
    ? readFailed("DAMAGED_RECORD", "the data file is damaged where the record should be", {
        record: "data file",
        cause: error,
      })
    : error;

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
    document: async (runtimeId) => {
      const snapshot = row({ table: "snapshot", runtimeId });
      const pieces: Uint8Array[] = [];
      for (let index = 0; index < (snapshot?.pieces ?? 0); index += 1) {
        // Others get a turn, so that a large document does not hold the event loop.
        if (index % PIECES_A_TURN === PIECES_A_TURN - 1) await nextTurn();
        // A missing piece shows in the document's length and checksum.
        const piece = transaction.get(pieceKey(snapshot?.sequence ?? 0, index));
        if (piece) pieces.push(piece);
      }
      return each(pieces);
    },
  };
}

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
