import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DaemonProcess } from "@bolthole/conformance/process";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { SqliteEngine } from "@bolthole/sqlite";
import { MAIN } from "./testing/daemons.js";

const PAGE = join(__dirname, "..", "..", "..", "docs", "moving.md");

interface Block {
  readonly commands: string;
  readonly output: string;
}

/** Returns every block of commands with its expected output, which is the block after it. */
function blocks(): Block[] {
  const fenced = [...readFileSync(PAGE, "utf8").matchAll(/```(sh|text)\n([^]*?)```\n/g)];
  return fenced.flatMap(([, kind, text = ""], index) => {
    const next = fenced[index + 1];
    return kind === "sh" ? [{ commands: text, output: next?.[1] === "text" ? (next[2] ?? "") : "" }] : [];
  });
}

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

const run = (commands: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const script = `set -e\nbolthole() { "${process.execPath}" "${MAIN}" "$@"; }\n${commands}`;
    execFile("sh", ["-c", script], { cwd: folder }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${commands}${stdout}${stderr}`));
      else resolve(stdout.replaceAll(`${folder}/`, ""));
    });
  });

test("every command of docs/moving.md prints the documented output", async () => {
  const all = blocks();
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
        expect(await run(commands)).toBe(output);
      }
    }
    expect(daemon).toBeDefined();
  } finally {
    await daemon?.stop();
  }
});
