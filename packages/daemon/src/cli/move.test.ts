import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import {
  type RunBoundaryReceipt,
  type RuntimeStore,
  RuntimeStoreAdapter,
  type StoredInputState,
} from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { MeerkatFile, type MeerkatRows, SqliteEngine, putRawRow } from "@bolthole/sqlite";
import { DatabaseProcess } from "@bolthole/sqlite/testing";
import { EXIT } from "../exit-code.js";
import { MAIN, bolthole } from "../testing/daemons.js";

const NOW = "2026-05-28T15:31:27Z";
const FIRST = "0198f01a-0000-7000-8000-000000000001";
const SECOND = "0198f01a-0000-7000-8000-000000000002";
const row = (inputId: string, attemptCount = 0): StoredInputState => ({
  inputId,
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
const receipt = (sequence: bigint): RunBoundaryReceipt => ({
  runId: "0198f0a0-0000-7000-8000-0000000000c1",
  boundary: "run_start",
  contributingInputIds: [FIRST],
  messageCount: 1n,
  sequence,
});
const session = (length: number): Buffer =>
  Buffer.from(
    `{"version":2,"id":"0198f0a0-0000-7000-8000-0000000000aa","messages":[{"role":"user","content":"${"x".repeat(length)}",` +
      `"created_at":"${NOW}"}],"created_at":{"secs_since_epoch":1,"nanos_since_epoch":0},` +
      `"updated_at":{"secs_since_epoch":1,"nanos_since_epoch":0},"metadata":{},"usage":{"input_tokens":7,` +
      `"output_tokens":5,"cache_creation_tokens":null,"cache_read_tokens":null}}`,
  );

let folder: string;
let file: string;
let data: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-move-"));
  file = join(folder, "sessions.sqlite3");
  data = join(folder, "data");
  await change(async (store) => {
    await store.persistInputState("one", row(FIRST));
    await store.atomicApply("one", { sessionSnapshot: session(10) }, receipt(0n), [row(SECOND)], undefined);
    await store.atomicApply("one", undefined, receipt(2n ** 62n), [], undefined);
    await store.commitMachineLifecycle("two", { runtimeState: "idle", binding: { fenceToken: 7n } }, []);
    await store.persistAuthOauthFlowSnapshot(Buffer.from("{}"));
  });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Changes the database through a store. */
async function change(work: (store: RuntimeStore) => Promise<void>): Promise<void> {
  const engine = await SqliteEngine.open(file);
  await work(new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId));
  await engine.close();
}

async function rowsOf(path: string, runtimeId: string): Promise<MeerkatRows> {
  const opened = await MeerkatFile.openToRead(path);
  try {
    return await opened.read(runtimeId);
  } finally {
    await opened.close();
  }
}

const importFile = (...flags: string[]): ReturnType<typeof bolthole> =>
  bolthole("import", "meerkat", file, "--data", data, ...flags);
const exportTo = (name: string, ...flags: string[]): ReturnType<typeof bolthole> =>
  bolthole("export", "meerkat", join(folder, name), "--data", data, ...flags);
const summary = ({ out }: { readonly out: string }): string => out.trimEnd().split("\n").at(-1) ?? "";

test("an export into a file that cannot be created is refused without a stack", async () => {
  expect((await importFile()).code).toBe(EXIT.CLEAN);
  for (const [path, expected] of [
    ["/proc/x/y", EXIT.DATA_FOLDER],
    [folder, EXIT.USAGE],
  ] as const) {
    const { code, err } = await bolthole("export", "meerkat", path, "--data", data);
    expect([code, err]).toEqual([expected, expect.stringMatching(new RegExp(`^bolthole: ${path} [^\\n]*\\n$`))]);
  }
});

test("an export of an unknown runtime says that nothing is stored and makes no file, and so does an import of no runtime", async () => {
  expect((await importFile()).code).toBe(EXIT.CLEAN);
  for (const dryRun of [[], ["--dry-run"]]) {
    const unknown = await exportTo("unknown", "--runtime", "nothing", "--overwrite", ...dryRun);
    expect([unknown.code, unknown.out, unknown.err]).toEqual([
      EXIT.USAGE,
      "",
      'bolthole: the store has no runtime "nothing": nothing is stored under this id, and nothing was changed; ' +
        "name another one with --runtime\n",
    ]);
    expect(existsSync(join(folder, "unknown"))).toBe(false);
  }
  await MeerkatFile.openToWrite(join(folder, "without runtimes")).then((made) => made.close());
  const none = await bolthole("import", "meerkat", join(folder, "without runtimes"), "--data", data, "--overwrite");
  expect([none.code, none.err]).toEqual([
    EXIT.CLEAN,
    "bolthole: the database has no runtimes; no runtime was changed\n",
  ]);
  expect(summary(await importFile())).toContain("2 unchanged");
});

test("a dry run reports the result and creates neither a store nor a file", async () => {
  const dry = await importFile("--dry-run");
  expect([dry.code, summary(dry)]).toEqual([
    EXIT.CLEAN,
    "dry run, nothing was written: runtimes: 2 added, 0 replaced, 0 unchanged, 0 kept, 0 skipped; 0 rows that cannot be moved",
  ]);
  expect(existsSync(data)).toBe(false);
  await importFile();
  expect(summary(await exportTo("out", "--dry-run"))).toContain("2 added");
  expect(existsSync(join(folder, "out"))).toBe(false);
});

test("a repeated import adds the missing runtimes and leaves the others unchanged", async () => {
  await importFile();
  await change((store) => store.persistInputState("three", row(FIRST)));
  const again = await importFile();
  expect([again.code, summary(again)]).toEqual([
    EXIT.CLEAN,
    "runtimes: 1 added, 0 replaced, 2 unchanged, 0 kept, 0 skipped; 0 rows that cannot be moved",
  ]);
});

test("other contents are kept without --overwrite, and replaced completely with it", async () => {
  await importFile();
  await change(async (store) => {
    await store.clearSessionSnapshot("one");
    await store.persistInputState("one", row(SECOND, 3));
    await store.persistAuthOauthFlowSnapshot(Buffer.from('{"browser":[]}'));
  });
  const kept = await importFile();
  expect(kept.code).toBe(EXIT.INCOMPLETE);
  expect(kept.out).toContain('kept      "one": the target has other contents for it; replace them with --overwrite');
  expect(kept.out).toContain('kept      "OAuth flow state"');
  const replaced = await importFile("--overwrite");
  expect([replaced.code, summary(replaced)]).toEqual([
    EXIT.CLEAN,
    "runtimes: 0 added, 1 replaced, 1 unchanged, 0 kept, 0 skipped; 0 rows that cannot be moved",
  ]);
  await exportTo("out");
  expect(await rowsOf(join(folder, "out"), "one")).toEqual(await rowsOf(file, "one"));

  await change((store) => store.persistInputState("one", row(FIRST, 1)));
  expect((await bolthole("export", "meerkat", file, "--data", data)).code).toBe(EXIT.INCOMPLETE);
  expect((await rowsOf(file, "one")).inputs).not.toEqual((await rowsOf(join(folder, "out"), "one")).inputs);
  expect((await bolthole("export", "meerkat", file, "--data", data, "--overwrite")).code).toBe(EXIT.CLEAN);
  expect(await rowsOf(file, "one")).toEqual(await rowsOf(join(folder, "out"), "one"));
});

test("a row under a wrong key is reported, and its runtime is moved only with --skip-damaged", async () => {
  const [first] = (await rowsOf(file, "one")).inputs;
  const key = { runtime_id: "one", input_id: "0198f01a-0000-7000-8000-000000000009" };
  await putRawRow(file, { table: "runtime_input_states", key, value: first?.json ?? Buffer.of() });
  const skipped = await importFile();
  expect(skipped.code).toBe(EXIT.INCOMPLETE);
  expect(skipped.out).toContain(
    `refused   "one": input state ${key.input_id}: expected the input id of its key, found ${FIRST}`,
  );
  expect(summary(skipped)).toContain("1 added, 0 replaced, 0 unchanged, 0 kept, 1 skipped");
  expect(summary(await importFile("--skip-damaged"))).toContain("1 added, 0 replaced, 1 unchanged");
  await exportTo("out");
  expect((await rowsOf(join(folder, "out"), "one")).inputs).toHaveLength(2);
});

describe("with a running daemon", () => {
  let daemon: DaemonProcess;
  beforeEach(async () => {
    daemon = await new DaemonProcess({ main: MAIN, data, args: ["--log-level", "silent"] }).start();
  });
  afterEach(async () => {
    await daemon.stop("SIGKILL");
  });

  test("a session of many wire messages is imported and exported", async () => {
    const large = session(3_500_000);
    await change((store) => store.commitSessionSnapshot("two", { sessionSnapshot: large }));
    expect((await importFile()).code).toBe(EXIT.CLEAN);
    expect((await exportTo("out")).code).toBe(EXIT.CLEAN);
    expect((await rowsOf(join(folder, "out"), "two")).snapshot?.equals(large)).toBe(true);
    expect(summary(await importFile())).toContain("2 unchanged");
  });

  test("rows that the reference cannot store are reported, and left out with --skip-damaged", async () => {
    const store = await connect(daemon.target);
    await store.commitSessionSnapshot("opaque", { sessionSnapshot: Buffer.from("bytes"), profile: "opaque" });
    await store.persistInputState("opaque", row(FIRST));
    for (const sequence of [2n ** 63n - 1n, 2n ** 64n - 1n]) {
      await store.atomicApply("clamped", undefined, receipt(sequence), [], undefined);
    }
    await store.close();
    const skipped = await exportTo("out");
    expect(skipped.code).toBe(EXIT.INCOMPLETE);
    expect(skipped.out).toMatch(/refused {3}"opaque": session snapshot: it is opaque/);
    expect(skipped.out).toMatch(
      /refused {3}"clamped": boundary receipt \S+ 18446744073709551615: the reference keeps only one/,
    );
    expect(summary(skipped)).toContain("0 added, 0 replaced, 0 unchanged, 0 kept, 2 skipped; 2 rows");
    expect(summary(await exportTo("out", "--skip-damaged"))).toContain("2 added");
    expect((await rowsOf(join(folder, "out"), "opaque")).inputs).toHaveLength(1);
  });

  test("an export into a database that another process has locked reports that, and ends", async () => {
    expect((await importFile()).code).toBe(EXIT.CLEAN);
    expect((await exportTo("out")).code).toBe(EXIT.CLEAN);
    const other = new DatabaseProcess(join(folder, "out"));
    try {
      await other.exec("BEGIN IMMEDIATE");
      const refused = await exportTo("out", "--runtime", "one");
      expect(refused).toMatchObject({ code: EXIT.INCOMPLETE, err: "" });
      expect(refused.out).toMatch(/skipped {3}"one": .* another process has locked it/);
    } finally {
      await other.kill();
    }
  });
});

test("a file or store that cannot be used has a separate exit code", async () => {
  expect(await bolthole("import", "meerkat", join(folder, "nothing"), "--data", data)).toMatchObject({
    code: EXIT.DATA_FOLDER,
    err: expect.stringContaining("there is no file") as string,
  });
  expect(existsSync(data)).toBe(false);
  writeFileSync(join(folder, "text"), "some text, ".repeat(1000));
  expect((await bolthole("import", "meerkat", join(folder, "text"), "--data", data)).code).toBe(EXIT.DATA_FOLDER);
  expect((await exportTo("out")).code).toBe(EXIT.DATA_FOLDER);
  expect((await bolthole("import", "meerkat", file, "--data", data, "--engine", "stone")).code).toBe(EXIT.USAGE);
});
