import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Environment } from "../environment.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { documentAfter } from "../testing/crashing-writer.js";
import { commitDocument, inspect, readDocument, replaceDocument } from "../testing/engine-documents.js";
import { noise } from "../testing/noise.js";

let site: string;
let folder: string;

beforeEach(() => {
  site = mkdtempSync(join(tmpdir(), "bolthole-crash-"));
  folder = join(site, "live");
  mkdirSync(folder);
});

afterEach(() => {
  jest.restoreAllMocks();
  rmSync(site, { recursive: true });
});

/** Opens a folder as a new process does, checks that nothing is damaged or left over, and returns the document. */
async function recovered(at: string): Promise<Buffer> {
  const engine = await LmdbEngine.open(at);
  await engine.reclaimed();
  const document = await readDocument(engine, "rt");
  await engine.close();
  expect((await inspect(at)).findings).toEqual([]);
  return document;
}

test("after a crash between any two transactions a document is complete, and nothing is left over", async () => {
  /** A copy of the folder after every transaction, and the documents that may be stored at that moment. */
  const crashes: { readonly at: string; readonly allowed: readonly Buffer[] }[] = [];
  let allowed: Buffer[] = [Buffer.of()];
  const { write } = Environment.prototype;
  jest.spyOn(Environment.prototype, "write").mockImplementation(async function (this: Environment, puts) {
    await write.call(this, puts);
    const at = join(site, String(crashes.length));
    cpSync(folder, at, { recursive: true });
    crashes.push({ at, allowed });
  });
  const engine = await LmdbEngine.open(folder);
  const step = async (next: Buffer, change: () => Promise<unknown>): Promise<void> => {
    allowed = [...allowed.slice(-1), next];
    await change();
    await engine.reclaimed();
  };
  const large = noise(3_000_000, 1);
  const small = noise(3000, 2);
  const all = { offset: 0, length: large.length };
  const twice = Buffer.concat([large, small, large]);
  const other = noise(2_500_000, 4);
  await step(large, () => replaceDocument(engine, "rt", [large]));
  await step(twice, () => replaceDocument(engine, "rt", [all, small, all]));
  await step(twice.subarray(1_000_000, 4_000_000), () =>
    replaceDocument(engine, "rt", [{ offset: 1_000_000, length: 3_000_000 }]),
  );
  await step(twice.subarray(1_000_000, 4_000_000), async () => {
    await engine.discard(await engine.stage({ table: "snapshot", runtimeId: "rt" }, undefined, [noise(3_000_000, 3)]));
  });
  await step(other, () => replaceDocument(engine, "rt", [other]));
  await step(Buffer.of(), () => commitDocument(engine, "rt", undefined));
  await engine.close();
  jest.restoreAllMocks();

  expect((await inspect(folder)).values).toBe(0);
  // Three large documents in slices, the commits, and the reclaiming.
  expect(crashes.length).toBeGreaterThan(18);
  for (const crash of crashes) {
    const found = await recovered(crash.at);
    expect(crash.allowed.some((document) => document.equals(found))).toBe(true);
  }
});

test("a killed writer leaves the document before or after its last change, and nothing else", async () => {
  let changes = 0;
  for (let kill = 0; kill < 5; kill += 1) {
    changes += await acknowledgedBeforeKill(changes, 1 + kill);
    const found = await recovered(folder);
    if (!documentAfter(changes).equals(found)) changes += 1;
    expect(documentAfter(changes).equals(found)).toBe(true);
  }
  expect(changes).toBeGreaterThanOrEqual(15);
});

/** Runs a writer until it has acknowledged `count` changes, kills it, and returns how many it acknowledged. */
function acknowledgedBeforeKill(done: number, count: number): Promise<number> {
  const script = join(__dirname, "../testing/crashing-writer.js");
  const child = spawn(process.execPath, [script, folder, String(done)], { stdio: ["ignore", "pipe", "inherit"] });
  let dots = 0;
  child.stdout.on("data", (text: Buffer) => {
    dots += text.length;
    if (dots >= count) child.kill("SIGKILL");
  });
  return new Promise((resolve) => {
    child.once("close", () => {
      resolve(dots);
    });
  });
}
