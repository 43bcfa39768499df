import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testClosing } from "@bolthole/core/testing";
import { SqliteEngine } from "./sqlite-engine.js";

testClosing("the SQLite engine", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bolthole-closing-"));
  const engine = await SqliteEngine.open(join(folder, "store.sqlite3"));
  return { engine, remove: () => rm(folder, { recursive: true }) };
});
