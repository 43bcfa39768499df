import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DaemonProcess } from "@bolthole/conformance/process";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { SqliteEngine } from "@bolthole/sqlite";
import { MAIN } from "./testing/daemons.js";
import { documentedCommands, runDocumented } from "./testing/documented-commands.js";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-moving-"));
  const engine = await SqliteEngine.open(join(folder, "sessions.sqlite3"));
  const store = new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId);
  await store.commitMachineLifecycle(
    "rt:session:0198f0a0-0000-7000-8000-0000000000aa",
    { runtimeState: "idle", binding: {} },
    [],
  );
  await store.persistAuthOauthFlowSnapshot(Buffer.from("{}"));
  await engine.close();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("every command of docs/moving.md prints the documented output", async () => {
  const all = documentedCommands("moving.md");
  expect(all.length).toBeGreaterThan(5);
  let daemon: DaemonProcess | undefined;
  try {
    for (const { commands, output } of all) {
      const [, engine = "", file = ""] = /^bolthole serve --engine (\S+) --data (\S+)\n$/.exec(commands) ?? [];
      if (file !== "") {
        const data = join(folder, file);
        daemon = new DaemonProcess({ main: MAIN, data, home: `${data}.bolthole`, args: ["--engine", engine] });
        await daemon.start();
      } else {
        expect(await runDocumented(commands, folder)).toBe(output);
      }
    }
    expect(daemon).toBeDefined();
  } finally {
    await daemon?.stop();
  }
});
