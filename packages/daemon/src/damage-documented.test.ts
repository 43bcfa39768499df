import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "@bolthole/lmdb";
import { Daemons } from "./testing/daemons.js";
import { documentedCommands, runDocumented } from "./testing/documented-commands.js";
import { inputRow } from "./testing/input-row.js";

const MARK = "a text that only one row contains";

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-damage-"));
  const data = join(folder, "data");
  mkdirSync(data, { mode: 0o700 });
  const engine = await LmdbEngine.open(data);
  const store = new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId);
  await store.persistInputState("planner", inputRow(MARK));
  const undamaged = { ...inputRow("undamaged"), inputId: "0198f01a-0000-7000-8000-000000000002" };
  await store.persistInputState("planner", undamaged);
  await store.commitMachineLifecycle("planner", { runtimeState: "idle", binding: {} }, []);
  await store.persistInputState("other", inputRow("other"));
  await engine.close();
  const file = join(data, "data.mdb");
  const bytes = readFileSync(file);
  for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at + 1)) bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function runSection(): Promise<void> {
  const all = documentedCommands("operating.md", "What to do about damage");
  expect(all.map(({ commands }) => commands.split(" ")[1])).toEqual(["verify", "export", "import", "delete"]);
  for (const { commands, output } of all) expect(await runDocumented(commands, folder)).toBe(output);
}

test("every command about damage in docs/operating.md prints the documented output", runSection);

test("every command about damage in docs/operating.md prints the same with a running daemon", async () => {
  const daemons = new Daemons();
  try {
    await daemons.serve(daemons.add(join(folder, "data")), runSection);
  } finally {
    await daemons.end();
  }
});
