import { createInterface } from "node:readline";
import { SqliteConnection } from "../connection.js";

/*
 * A process that has a database open, as another program has. It runs the statements of each line of its standard input, and prints
 * "done" after each. Run it with the path of the database.
 */
async function main(): Promise<void> {
  const connection = await SqliteConnection.open(process.argv[2] ?? "");
  for await (const sql of createInterface({ input: process.stdin })) {
    await connection.exec(sql);
    process.stdout.write("done\n");
  }
}

void main();
