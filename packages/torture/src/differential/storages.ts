import { cpSync, mkdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Finding, RuntimeId } from "@bolthole/contract";
import { type Engine, MemoryEngine, type RowKey } from "@bolthole/core";
import { LmdbEngine, restoreBackup } from "@bolthole/lmdb";
import { type StoredValue, flipBit } from "@bolthole/lmdb/testing";
import { MeerkatFile, SqliteEngine, putRawRow } from "@bolthole/sqlite";
import type { Random } from "../random.js";

/** An engine that was opened, and the runtimes that its check found to be damaged as a whole. */
interface Opened {
  readonly engine: Engine;
  readonly damagedRuntimes: readonly RuntimeId[];
}

/** The storage of one store under comparison. */
export interface Storage {
  readonly name: string;
  /** Opens the stored data. With `isChecked`, an engine that has a check before its start makes it. */
  open(isChecked: boolean): Promise<Opened>;
  /** Closes the engine. The data of an engine in memory stays. */
  close(): Promise<void>;
  /**
   * Flips one bit of one of these rows, or of a value that belongs to it, while the engine is closed. Returns a description, or
   * undefined when no such value is stored. Absent where nothing can be damaged.
   */
  damage?(keys: readonly RowKey[], random: Random): Promise<string | undefined>;
  /** Returns another storage with a copy of the data: a restored backup, or a copy of the closed files. */
  copy?(folder: string, nowMs: number): Promise<Storage>;
}

/** Returns a new storage of each engine in a folder. The first one is in memory. */
export const storagesIn = (folder: string): [Storage, Storage, Storage] => [
  new MemoryStorage("memory"),
  new LmdbStorage("LMDB", join(folder, "lmdb")),
  new SqliteStorage("SQLite", join(folder, "sqlite")),
];

/** Keeps one engine in memory, also while it counts as closed. */
class MemoryStorage implements Storage {
  private readonly engine = new MemoryEngine();

  constructor(readonly name: string) {}

  open(): Promise<Opened> {
    return Promise.resolve({ engine: this.engine, damagedRuntimes: [] });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Findings after which the daemon refuses a runtime as a whole. */
const refusesRuntime = ({ code }: Finding): boolean => code === "head-differs" || code === "head-missing";

/** Keeps a data folder of LMDB. */
class LmdbStorage implements Storage {
  private engine: LmdbEngine | undefined;

  constructor(
    readonly name: string,
    private readonly folder: string,
  ) {
    mkdirSync(folder, { recursive: true });
  }

  async open(isChecked: boolean): Promise<Opened> {
    const damagedRuntimes: RuntimeId[] = [];
    this.engine = await LmdbEngine.open(this.folder, {
      check: { level: isChecked ? "full" : "auto", maxBytes: Infinity },
      onFinding: (finding) => {
        if (refusesRuntime(finding) && finding.runtimeId !== undefined) damagedRuntimes.push(finding.runtimeId);
      },
    });
    return { engine: this.engine, damagedRuntimes };
  }

  async close(): Promise<void> {
    await this.engine?.close();
    this.engine = undefined;
  }

  async damage(keys: readonly RowKey[], random: Random): Promise<string | undefined> {
    const values = keys.flatMap((row): StoredValue[] => {
      if (row.table === "runtimeManifest") return [{ row }, { rowSetOf: row.runtimeId }];
      if (row.table !== "snapshot" && row.table !== "ops") return [{ row }];
      return [{ row }, { documentOf: row, node: "root" }, { documentOf: row, node: "leaf" }];
    });
    const value = values[random.below(values.length)];
    const bit = random.below(1 << 24);
    if (!value || !(await flipBit(this.folder, value, bit))) return undefined;
    return `bit ${bit} of ${JSON.stringify(value, (_name, member: unknown) => (typeof member === "bigint" ? String(member) : member))}`;
  }

  async copy(folder: string, nowMs: number): Promise<Storage> {
    if (!this.engine) throw new TypeError("the store is not open");
    const backup = `${folder}.backup`;
    const file = await open(backup, "w");
    try {
      for await (const chunk of await this.engine.backUp()) await file.writeFile(chunk);
    } finally {
      await file.close();
    }
    await restoreBackup(backup, folder, { keepsOauth: true, nowMs });
    rmSync(backup);
    return new LmdbStorage(`${this.name}, restored`, folder);
  }
}

/** The reference's name of each table whose rows the store decodes. A document that another program changed is not damage. */
const SQLITE_TABLES = {
  lifecycle: "runtime_states",
  input: "runtime_input_states",
  receipt: "runtime_boundary_receipts",
} as const;
type SqliteKey = Extract<RowKey, { readonly table: keyof typeof SQLITE_TABLES }>;

/** Keeps a database file of SQLite. */
class SqliteStorage implements Storage {
  private engine: SqliteEngine | undefined;

  constructor(
    readonly name: string,
    private readonly folder: string,
  ) {
    mkdirSync(folder, { recursive: true });
  }

  async open(): Promise<Opened> {
    this.engine = await SqliteEngine.open(this.file);
    return { engine: this.engine, damagedRuntimes: [] };
  }

  async close(): Promise<void> {
    await this.engine?.close();
    this.engine = undefined;
  }

  /** Makes the JSON of a row unreadable. Any other change is one that another program may have made. */
  async damage(keys: readonly RowKey[], random: Random): Promise<string | undefined> {
    const rows = keys.filter((key): key is SqliteKey => key.table in SQLITE_TABLES);
    const key = rows[random.below(rows.length)];
    const stored = key && (await this.jsonOf(key));
    if (!stored) return undefined;
    const bit = random.below(8);
    const value = Buffer.from(stored);
    value[0] = (value[0] ?? 0) ^ (1 << bit);
    await putRawRow(this.file, { table: SQLITE_TABLES[key.table], key: columnsOf(key), value });
    return `bit ${bit} of a row in ${SQLITE_TABLES[key.table]}`;
  }

  async copy(folder: string): Promise<Storage> {
    await this.close();
    cpSync(this.folder, folder, { recursive: true });
    return new SqliteStorage(`${this.name}, copied`, folder);
  }

  private get file(): string {
    return join(this.folder, "store.sqlite3");
  }

  private async jsonOf(key: SqliteKey): Promise<Uint8Array | undefined> {
    const file = await MeerkatFile.openToRead(this.file);
    try {
      const { lifecycle, inputs, receipts } = await file.read(key.runtimeId);
      if (key.table === "lifecycle") return lifecycle;
      if (key.table === "input") return inputs.find(({ inputId }) => inputId === key.inputId)?.json;
      return receipts.find(({ runId, sequence }) => runId === key.runId && sequence === key.sequence)?.json;
    } finally {
      await file.close();
    }
  }
}

function columnsOf(key: SqliteKey): Record<string, string | bigint> {
  if (key.table === "input") return { runtime_id: key.runtimeId, input_id: key.inputId };
  if (key.table === "receipt") return { runtime_id: key.runtimeId, run_id: key.runId, sequence: key.sequence };
  return { runtime_id: key.runtimeId };
}
