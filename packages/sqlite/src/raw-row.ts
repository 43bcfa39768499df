import { SqliteConnection } from "./connection.js";
import { PLACES } from "./reference-place.js";

/** A row as somebody else writes it into a table of the reference, past every rule. */
export interface RawRow {
  readonly table: string;
  /** The key columns; a sequence is a number. */
  readonly key: Readonly<Record<string, string | bigint>>;
  readonly value: Buffer;
}

/** Writes it as another process would: over a connection of its own. For trials. */
export async function putRawRow(file: string, { table, key, value }: RawRow): Promise<void> {
  const place = Object.values(PLACES).find((one) => one.table === table);
  if (!place) throw new RangeError(`the reference has no table ${table}`);
  const connection = SqliteConnection.open(file);
  try {
    const columns = [...place.keys, place.value];
    const put = await connection.prepare(
      `INSERT OR REPLACE INTO ${table} (${columns.join(", ")}) VALUES (${columns.map((_, at) => `?${at + 1}`).join(", ")})`,
    );
    await put.run(...place.keys.map((name) => key[name] ?? null), value);
  } finally {
    connection.close();
  }
}
