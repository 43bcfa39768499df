import type { Value } from "./connection.js";
import { Connection } from "./connection.js";
import { claimReferenceSchema } from "./schema.js";

/** A database of the reference, without a store over it. */
export class MeerkatFile {
  private constructor(private readonly connection: Connection) {}

  /** Opens it for writing, too; makes it when there is none. */
  static async open(file: string): Promise<MeerkatFile> {
    const connection = Connection.open(file);
    try {
      await claimReferenceSchema(connection, file);
      return new MeerkatFile(connection);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Writes one row as it is, over one with the same key. */
  async put(table: string, columns: Readonly<Record<string, Value>>): Promise<void> {
    const names = Object.keys(columns);
    const places = names.map((_, index) => `?${index + 1}`);
    const put = await this.connection.prepare(
      `INSERT OR REPLACE INTO ${table} (${names.join(", ")}) VALUES (${places.join(", ")})`,
    );
    await put.run(...Object.values(columns));
  }

  async close(): Promise<void> {
    await this.connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.connection.close();
  }
}
