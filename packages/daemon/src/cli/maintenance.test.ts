import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BoltholeStore } from "@bolthole/client";
import type { DaemonProcess } from "@bolthole/conformance/process";
import type { Version } from "@bolthole/contract";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { INPUT_ID, inputRow } from "../testing/input-row.js";

const MARK = "a text that only one row contains";
/** A document of several leaves, larger than one page. */
const document = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 7919) % 251));

let folder: string;
let data: string;
let file: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-maintenance-"));
  data = join(folder, "data");
  file = join(folder, "backup");
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const served = <T>(at: string, use: (store: BoltholeStore, daemon: DaemonProcess) => Promise<T>): Promise<T> =>
  daemons.serve(daemons.add(at), use);

const newRequestId = (): string =>
  `${Date.now()
    .toString(16)
    .padStart(12, "0")
    .replace(/^(.{8})/, "$1-")}-7000-8000-000000000001`;

async function fill(store: BoltholeStore): Promise<{ version: Version; requestId: string; storeId: string }> {
  const requestId = newRequestId();
  await store.commitSessionSnapshot("one", { sessionSnapshot: document, profile: "opaque" });
  await store.persistInputState("one", inputRow("one"));
  await store.persistInputState("two", inputRow(MARK));
  await store.persistAuthOauthFlowSnapshot(Buffer.from("flows"));
  await store.commitMachineLifecycle("one", { runtimeState: "idle", binding: {} }, []);
  const { version = "" } = (await store.versioned.loadMachineLifecycleRecord({ runtimeId: "one" })) ?? {};
  await store.versioned.persistInputState({ runtimeId: "one", state: inputRow("once"), requestId });
  const { storeId } = await store.versioned.getServerInfo({});
  return { version, requestId, storeId };
}

const contentsOf = async (store: BoltholeStore): Promise<unknown[]> => [
  Buffer.from((await store.loadSessionSnapshot("one")) ?? []).equals(document),
  await store.loadInputStates("one"),
  await store.loadInputStates("two"),
  (await store.versioned.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes.map(({ runtimeId }) => runtimeId),
];

const reasonOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => "none",
    (error: unknown) => (error as { reason?: unknown }).reason ?? error,
  );

/** Changes the first byte of the last copy of a text in the data file. */
function flip(path: string, text: string): void {
  const bytes = readFileSync(path);
  const at = bytes.lastIndexOf(text);
  expect(at).toBeGreaterThan(0);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

describe("a backup", () => {
  test("of a running daemon is restored as a new store, whose versions differ from all old versions", async () => {
    const before = await served(data, async (store) => {
      const facts = await fill(store);
      const backup = await bolthole("backup", file, "--data", data);
      expect([backup.code, backup.err]).toEqual([EXIT.CLEAN, ""]);
      expect(backup.out).toContain(`store ${facts.storeId}`);
      expect(backup.out).toContain("2 runtimes, 4 records");
      // A change after the backup is not in the backup.
      await store.persistInputState("three", inputRow("later"));
      return { ...facts, contents: await contentsOf(store) };
    });
    expect(readdirSync(folder).sort()).toEqual(["backup", "data"]);
    expect(readdirSync(data)).not.toContainEqual(expect.stringMatching(/^backup/));

    const second = join(folder, "second");
    const restored = await bolthole("restore", file, "--data", second);
    expect([restored.code, restored.err]).toEqual([EXIT.CLEAN, ""]);
    expect((await bolthole("verify", "--data", second)).out).toMatch(/^2 runtimes, 4 records, 0 request outcomes/);
    await served(second, async (store) => {
      expect(await contentsOf(store)).toEqual([...before.contents.slice(0, 3), ["one", "two"]]);
      const { storeId } = await store.versioned.getServerInfo({});
      expect(storeId).not.toBe(before.storeId);
      const change = { runtimeId: "one", state: inputRow("changed") };
      expect(await reasonOf(store.versioned.persistInputState({ ...change, expectedStoreId: before.storeId }))).toBe(
        "STORE_REPLACED",
      );
      const lifecycle = { record: "machine_lifecycle", version: before.version } as const;
      expect(await reasonOf(store.versioned.persistInputState({ ...change, expectedVersions: [lifecycle] }))).toBe(
        "VERSION_CONFLICT",
      );
      // The request was applied in the old store, but the new store has no record of it. It must not be applied again.
      expect(await reasonOf(store.versioned.persistInputState({ ...change, requestId: before.requestId }))).toBe(
        "REQUEST_ID_EXPIRED",
      );
      expect(await store.loadAuthOauthFlowSnapshot()).toBeUndefined();
      await store.persistInputState("one", inputRow("changed"));
    });
  });

  test("of a stopped store is restored with its OAuth flows only with --keep-oauth", async () => {
    await served(data, fill);
    expect((await bolthole("backup", file, "--data", data)).code).toBe(EXIT.CLEAN);
    expect((await bolthole("restore", file, "--data", join(folder, "kept"), "--keep-oauth")).code).toBe(EXIT.CLEAN);
    await served(join(folder, "kept"), async (store) => {
      expect(Buffer.from((await store.loadAuthOauthFlowSnapshot()) ?? []).toString()).toBe("flows");
      await store.persistAuthOauthFlowSnapshot(Buffer.from("more"));
    });
    expect((await bolthole("verify", "--data", join(folder, "kept"))).code).toBe(EXIT.CLEAN);
  });

  test("is restored only to a missing or empty folder, and is refused when any byte of it changed", async () => {
    await served(data, fill);
    await bolthole("backup", file, "--data", data);
    const refused = await bolthole("restore", file, "--data", data);
    expect([refused.code, refused.err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("is not empty")]);

    const whole = readFileSync(file);
    const target = join(folder, "target");
    mkdirSync(target);
    for (const at of [3, 20, 120, whole.indexOf("\n") + 30, 9000, whole.length - 1]) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(file, bytes);
      expect([at, (await bolthole("restore", file, "--data", target)).code]).toEqual([at, EXIT.DAMAGED]);
    }
    for (const bytes of [
      Buffer.alloc(0),
      whole.subarray(0, 100),
      whole.subarray(0, -1),
      Buffer.concat([whole, whole]),
    ]) {
      writeFileSync(file, bytes);
      expect((await bolthole("restore", file, "--data", target)).code).toBe(EXIT.DAMAGED);
    }
    expect(readdirSync(folder).sort()).toEqual(["backup", "data", "target"]);
    expect(readdirSync(target)).toEqual([]);
    writeFileSync(file, whole);
    expect((await bolthole("restore", file, "--data", target)).code).toBe(EXIT.CLEAN);
  });

  test("of a damaged store is written and reports the damage", async () => {
    await served(data, fill);
    flip(join(data, "data.mdb"), MARK);
    const backup = await bolthole("backup", file, "--data", data);
    expect([backup.code, backup.out]).toEqual([EXIT.DAMAGED, expect.stringContaining("1 finding")]);
    const restored = await bolthole("restore", file, "--data", join(folder, "second"));
    expect([restored.code, restored.out]).toEqual([EXIT.DAMAGED, expect.stringContaining('"two" input state')]);
  });

  test("of another engine is refused, and the error names the alternative", async () => {
    const database = join(folder, "sessions.sqlite3");
    const daemon = daemons.add(database, ["--engine", "sqlite"], `${database}.bolthole`);
    await daemon.start();
    for (const args of [["backup", file], ["verify"]]) {
      const refused = await bolthole(...args, "--data", database);
      expect([refused.code, refused.err]).toEqual([EXIT.USAGE, expect.stringContaining("the tools of that database")]);
    }
    expect(existsSync(file)).toBe(false);
    await daemon.stop();
    expect((await bolthole("verify", "--data", database)).code).toBe(EXIT.USAGE);
  });
});

describe("verify", () => {
  test("reports no finding for an undamaged store, with and without a daemon", async () => {
    await served(data, async (store) => {
      await fill(store);
      const online = await bolthole("verify", "--data", data, "--json");
      expect(online.code).toBe(EXIT.CLEAN);
      expect(JSON.parse(online.out.trim().split("\n").at(-1) ?? "")).toMatchObject({
        damage: 0,
        counts: { runtimes: 2, rows: 4 },
        isSound: true,
      });
    });
    const offline = await bolthole("verify", "--data", data);
    expect([offline.code, offline.out]).toEqual([
      EXIT.CLEAN,
      expect.stringMatching(/2 runtimes, 4 records, .* 0 damaged/),
    ]);
  });

  test("names the runtime and the record of a finding, with and without a daemon", async () => {
    await served(data, fill);
    flip(join(data, "data.mdb"), MARK);
    const wanted = { code: "row-damaged", runtimeId: "two", record: `input state ${INPUT_ID}` };
    const offline = await bolthole("verify", "--data", data, "--json");
    expect(offline.code).toBe(EXIT.DAMAGED);
    expect(JSON.parse(offline.out.split("\n")[0] ?? "")).toMatchObject(wanted);
    await served(data, async () => {
      const online = await bolthole("verify", "--data", data, "--json");
      expect(online.code).toBe(EXIT.DAMAGED);
      expect(JSON.parse(online.out.split("\n")[0] ?? "")).toMatchObject(wanted);
    });
  });

  test.each([
    ["truncated", (bytes: Buffer): Buffer => bytes.subarray(0, 3 * 4096)],
    ["of another program", (): Buffer => Buffer.alloc(64 * 4096, "photos")],
    ["with zeros in the root page of its tree", zeroed],
  ])("reports damaged pages for a data file that is %s", async (_description, change) => {
    await served(data, fill);
    const path = join(data, "data.mdb");
    writeFileSync(path, change(readFileSync(path)));
    const found = await bolthole("verify", "--data", data);
    expect([found.code, found.out]).toEqual([EXIT.DAMAGED, expect.stringContaining("pages-damaged")]);
  });

  test("refuses a folder without a store", async () => {
    expect((await bolthole("verify", "--data", join(folder, "nothing"))).code).toBe(EXIT.DATA_FOLDER);
    mkdirSync(join(folder, "other"), { mode: 0o700 });
    expect((await bolthole("verify", "--data", join(folder, "other"))).code).toBe(EXIT.DATA_FOLDER);
  });
});

/** Fills the root page of the newer of the two LMDB states with zeros. */
function zeroed(bytes: Buffer): Buffer {
  const metas = [0, 4096].sort((a, b) => Number(bytes.readBigUInt64LE(b + 152) - bytes.readBigUInt64LE(a + 152)));
  const root = Number(bytes.readBigUInt64LE((metas[0] ?? 0) + 96 + 40));
  return bytes.fill(0, root * 4096, (root + 1) * 4096);
}
