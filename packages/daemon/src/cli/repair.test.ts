import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreError } from "@bolthole/contract";
import { type Row, type RowKey, ReadSet, createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "@bolthole/lmdb";
import { Daemons, bolthole } from "../testing/daemons.js";
import { INPUT_ID, inputRow } from "../testing/input-row.js";

const SECOND_ID = "0198f01a-0000-7000-8000-000000000002";
const INPUT: RowKey = { table: "input", runtimeId: "broken", inputId: SECOND_ID };
const STORE_MANIFEST: RowKey = { table: "storeManifest" };
const NO_SCRUB = ["--scrub-rate", "off"] as const;

let folder: string;
let data: string;
let daemons: Daemons;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-repair-"));
  data = join(folder, "data");
  mkdirSync(data, { mode: 0o700 });
  daemons = new Daemons();
  await withEngine(async (engine) => {
    const store = createEngineStore(engine);
    for (const runtimeId of ["broken", "whole"]) {
      await store.persistInputState({ runtimeId, state: inputRow("first") });
      await store.persistInputState({ runtimeId, state: { ...inputRow("second"), inputId: SECOND_ID } });
    }
  });
});

afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

async function withEngine<T>(use: (engine: LmdbEngine) => Promise<T>): Promise<T> {
  const engine = await LmdbEngine.open(data);
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

/** Changes rows without their manifests, and returns them as they were. */
const changeRows = (keys: readonly RowKey[], change: (row: Row | undefined) => Row | undefined) =>
  withEngine((engine) => {
    const reads = new ReadSet();
    const handles = keys.map((key) => reads.add(key));
    return engine.commit({
      reads,
      bytes: 0,
      decide: (rows) => ({
        writes: handles.map((handle) => ({ handle, row: change(rows.get(handle)) })),
        result: handles.map((handle) => rows.get(handle)),
        freesSpace: false,
      }),
    });
  });

const vanished = (): undefined => undefined;
const wrongChecksum = (row: Row | undefined): Row | undefined => row && { ...row, checksum: (row.checksum ^ 1) >>> 0 };

/** Starts a daemon, and returns which of the runtimes it serves. */
const served = (...args: readonly string[]): Promise<string[]> =>
  daemons.serve(daemons.add(data, [...NO_SCRUB, ...args]), async (store) => {
    const runtimes: string[] = [];
    for (const runtimeId of ["broken", "whole"]) {
      try {
        await store.loadInputState(runtimeId, INPUT_ID);
        runtimes.push(runtimeId);
      } catch (error) {
        expect((error as StoreError).reason).toBe("DAMAGED_RECORD");
      }
    }
    return runtimes;
  });

describe("a runtime whose manifest does not match its rows", () => {
  test("is refused after a clean restart too, until it is deleted", async () => {
    await changeRows([INPUT], vanished);
    expect(await served()).toEqual(["broken", "whole"]);
    expect(await served("--check", "full")).toEqual(["whole"]);
    expect(await served()).toEqual(["whole"]);
    await daemons.serve(daemons.add(data, NO_SCRUB), async (store) => {
      const { runtimes } = await store.versioned.listRuntimes({ pageSize: 0, pageToken: "" });
      expect(runtimes.map(({ runtimeId, hasDamagedManifest }) => [runtimeId, hasDamagedManifest])).toEqual([
        ["broken", true],
        ["whole", false],
      ]);
      await store.versioned.deleteRuntime({ runtimeId: "broken" });
    });
    expect(await served()).toEqual(["broken", "whole"]);
  });

  test("is refused when the copy of a backup is served", async () => {
    await changeRows([INPUT], vanished);
    expect((await bolthole("backup", join(folder, "backup"), "--data", data)).code).toBe(10);
    rmSync(data, { recursive: true });
    expect((await bolthole("restore", join(folder, "backup"), "--data", data)).code).toBe(10);
    expect(await served()).toEqual(["whole"]);
  });

  test("is served again when a check finds that it matches", async () => {
    const [row] = await changeRows([INPUT], vanished);
    expect(await served("--check", "full")).toEqual(["whole"]);
    await changeRows([INPUT], () => row);
    expect(await served()).toEqual(["whole"]);
    await daemons.serve(daemons.add(data, NO_SCRUB), async (store) => {
      expect((await bolthole("verify", "--data", data)).code).toBe(0);
      await store.loadInputState("broken", INPUT_ID);
    });
    expect(await served()).toEqual(["broken", "whole"]);
  });

  test("is found by a running verification, and refused from then on", async () => {
    await changeRows([INPUT], vanished);
    await daemons.serve(daemons.add(data, NO_SCRUB), async (store) => {
      await store.loadInputState("broken", INPUT_ID);
      expect((await bolthole("verify", "--data", data)).code).toBe(10);
      await expect(store.loadInputState("broken", INPUT_ID)).rejects.toMatchObject({ reason: "DAMAGED_RECORD" });
    });
    expect(await served()).toEqual(["whole"]);
  });

  test("is counted again by a repair, and served again", async () => {
    await changeRows([INPUT], vanished);
    expect(await served("--check", "full")).toEqual(["whole"]);
    const repaired = await bolthole("repair", "--data", data);
    expect(repaired).toMatchObject({ code: 0, err: "" });
    expect(repaired.out).toMatch(/^recounted {12}"broken" runtime manifest: input rows: expected 2 .*, found 1 /);
    expect(repaired.out).toContain("1 manifest counted again; 0 records are damaged and stay as they are\n");
    expect((await bolthole("verify", "--data", data)).code).toBe(0);
    expect(await served("--check", "full")).toEqual(["broken", "whole"]);
  });
});

test.each(["quick", "full"])(
  "a store whose manifest is unreadable is opened with --check %s and takes writes",
  async (check) => {
    await changeRows([STORE_MANIFEST], wrongChecksum);
    await daemons.serve(daemons.add(data, [...NO_SCRUB, "--check", check]), async (store) => {
      await store.persistInputState("broken", inputRow("changed"));
      expect((await store.versioned.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes).toHaveLength(2);
    });
    expect((await bolthole("verify", "--data", data)).code).toBe(0);
  },
);

describe("a store that misses a whole runtime", () => {
  const ALL_ROWS: RowKey[] = [
    { table: "runtimeManifest", runtimeId: "broken" },
    { table: "input", runtimeId: "broken", inputId: INPUT_ID },
    INPUT,
  ];
  beforeEach(() => changeRows(ALL_ROWS, vanished));

  test("is refused by a full check, which names the repair, and accepted after the repair", async () => {
    const before = readFileSync(join(data, "data.mdb"));
    const refused = await bolthole("serve", "--data", data, "--check", "full");
    expect([refused.code, refused.err]).toEqual([10, expect.stringContaining("bolthole repair")]);

    const tried = await bolthole("repair", "--data", data, "--dry-run", "--json");
    expect(tried.code).toBe(10);
    expect(
      tried.out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { recounted: { differences: [expect.stringMatching(/^runtimeManifest rows: expected 2 .*, found 1 /)] } },
      { recounted: 1, damaged: 0, dryRun: true },
    ]);
    expect(readFileSync(join(data, "data.mdb")).equals(before)).toBe(true);

    const repaired = await bolthole("repair", "--data", data);
    expect([repaired.code, repaired.out]).toEqual([0, expect.stringMatching(/^recounted {12}store manifest: /)]);
    const copies = readdirSync(data).filter((name) => name.startsWith("data.mdb.before-repair-"));
    expect(copies.map((name) => readFileSync(join(data, name)).equals(before))).toEqual([true]);
    expect(await served("--check", "full")).toEqual(["broken", "whole"]);
  });

  test("is not repaired when its pages are broken", async () => {
    const file = join(data, "data.mdb");
    const bytes = readFileSync(file);
    bytes.fill(0xff, 2 * 4096);
    writeFileSync(file, bytes);
    const { code, err } = await bolthole("repair", "--data", data);
    expect([code, err]).toEqual([10, expect.stringContaining("restore a backup")]);
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });
});

test("a repair leaves a valid store alone, names damaged records, and refuses a folder without a store", async () => {
  expect(await bolthole("repair", "--data", data)).toMatchObject({
    code: 0,
    out: "0 manifests counted again; 0 records are damaged and stay as they are\n",
  });
  await changeRows([INPUT], wrongChecksum);
  const { code, out } = await bolthole("repair", "--data", data);
  expect([code, out]).toEqual([10, expect.stringContaining(`row-damaged          "broken" input state ${SECOND_ID}`)]);
  expect((await bolthole("repair", "--data", join(folder, "nowhere"))).code).toBe(3);
  expect(existsSync(join(folder, "nowhere"))).toBe(false);
});

test("a repair is refused while a daemon serves the store", async () => {
  await daemons.serve(daemons.add(data), async () => {
    expect((await bolthole("repair", "--data", data)).code).toBe(4);
  });
});
