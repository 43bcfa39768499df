import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BoltholeStore } from "@bolthole/client";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { INPUT_ID, inputRow } from "../testing/input-row.js";

const MARK = "a text that only one row contains";
const OTHER_INPUT_ID = "0198f01a-0000-7000-8000-000000000002";

let folder: string;
let data: string;
let daemons: Daemons;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-salvage-"));
  data = join(folder, "data");
  daemons = new Daemons();
  await served(async (store) => {
    await store.persistInputState("rt", inputRow(MARK));
    await store.persistInputState("rt", { ...inputRow("undamaged"), inputId: OTHER_INPUT_ID });
    await store.commitMachineLifecycle("rt", { runtimeState: "idle", binding: { fenceToken: 7n } }, []);
    await store.persistInputState("other", inputRow("other"));
    await store.persistAuthOauthFlowSnapshot(Buffer.from("{}"));
  });
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const served = <T>(use: (store: BoltholeStore) => Promise<T>): Promise<T> => daemons.serve(daemons.add(data), use);
const alone = (use: () => Promise<void>): Promise<void> => use();

/** Changes a byte at a distance after every copy of `mark` in the data file, also in old pages. */
function flipBehind(mark: Buffer, distance: number): void {
  const path = join(data, "data.mdb");
  const bytes = readFileSync(path);
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) {
    bytes[at + distance] = (bytes[at + distance] ?? 0) ^ 1;
  }
  writeFileSync(path, bytes);
}

const damageRow = (): void => {
  flipBehind(Buffer.from(MARK), 5);
};
const damageManifest = (): void => {
  // The key of the runtime manifest of "rt"; its value has a header of 20 bytes.
  const key = Buffer.concat([Buffer.of(2), Buffer.from("rt"), Buffer.of(0, 1, 0)]);
  flipBehind(key, key.length + 24);
};

const move = (verb: string, ...flags: string[]): ReturnType<typeof bolthole> =>
  bolthole(verb, "meerkat", join(folder, "rescued.sqlite3"), "--data", data, ...flags);
const verifyCode = async (): Promise<number> => (await bolthole("verify", "--data", data)).code;

const DAMAGED_ROW = `damaged   "rt": input state ${INPUT_ID}: the row does not match its checksum (row-damaged)\n`;

describe.each([
  ["without a daemon", alone],
  ["with a running daemon", served],
])("%s", (_how, run) => {
  test("a damaged row is left out by a salvage, and is gone after the salvage is imported", async () => {
    damageRow();
    await run(async () => {
      expect(await verifyCode()).toBe(EXIT.DAMAGED);
      const plain = await move("export");
      expect([plain.code, plain.out]).toEqual([EXIT.INCOMPLETE, expect.stringContaining("with --salvage")]);
      expect(plain.out).toContain("1 added, 0 replaced, 0 unchanged, 0 kept, 1 skipped");

      const salvage = await move("export", "--salvage", "--overwrite");
      expect([salvage.code, salvage.out]).toEqual([EXIT.DAMAGED, expect.stringContaining(DAMAGED_ROW)]);
      expect(salvage.out).toContain("1 added, 0 replaced, 1 unchanged, 0 kept, 0 skipped; 0 rows that cannot be moved");
      expect(salvage.out).toContain("; 1 finding of damage\n");

      const kept = await move("import", "--runtime", "rt");
      expect([kept.code, kept.out]).toEqual([EXIT.INCOMPLETE, expect.stringContaining('kept      "rt"')]);
      const dry = await move("import", "--runtime", "rt", "--overwrite", "--dry-run");
      expect([dry.code, dry.out]).toEqual([EXIT.CLEAN, expect.stringContaining('replaced  "rt"')]);
      expect(await verifyCode()).toBe(EXIT.DAMAGED);

      const replaced = await move("import", "--runtime", "rt", "--overwrite");
      expect([replaced.code, replaced.out]).toEqual([EXIT.CLEAN, expect.stringContaining('replaced  "rt"')]);
      expect(await verifyCode()).toBe(EXIT.CLEAN);
    });
    await served(async (store) => {
      expect((await store.loadInputStates("rt")).map(({ inputId }) => inputId)).toEqual([OTHER_INPUT_ID]);
      expect(await store.loadInputStates("other")).toEqual([inputRow("other")]);
    });
  });

  test("a runtime with a damaged manifest keeps all its rows", async () => {
    damageManifest();
    await run(async () => {
      const plain = await move("export");
      expect([plain.code, plain.out]).toEqual([EXIT.INCOMPLETE, expect.stringContaining('skipped   "rt"')]);
      const salvage = await move("export", "--runtime", "rt", "--salvage");
      expect([salvage.code, salvage.out]).toEqual([
        EXIT.DAMAGED,
        expect.stringMatching(/^damaged {3}"rt": runtime manifest: .*\(head-missing\)$/m),
      ]);
      expect((await move("import", "--runtime", "rt", "--overwrite")).code).toBe(EXIT.CLEAN);
      expect(await verifyCode()).toBe(EXIT.CLEAN);
    });
    await served(async (store) => {
      expect(await store.loadInputStates("rt")).toHaveLength(2);
    });
  });
});

test("a runtime that the daemon refuses as damaged is served again after an import", async () => {
  damageManifest();
  await daemons.serve(daemons.add(data, ["--check", "full"]), async (store) => {
    const refused = { reason: "DAMAGED_RECORD" };
    await expect(store.loadInputStates("rt")).rejects.toMatchObject(refused);
    await expect(store.persistInputState("rt", inputRow("again"))).rejects.toMatchObject(refused);
    expect((await move("export", "--runtime", "rt", "--salvage")).code).toBe(EXIT.DAMAGED);
    expect((await move("import", "--runtime", "rt", "--overwrite")).code).toBe(EXIT.CLEAN);
    expect(await store.loadInputStates("rt")).toHaveLength(2);
    await store.persistInputState("rt", inputRow("again"));
  });
});

test("a salvage of an undamaged store is an export", async () => {
  const { code, out } = await move("export", "--salvage");
  expect([code, out]).toEqual([EXIT.CLEAN, expect.stringContaining("2 added")]);
});

test("--runtime moves one runtime and no OAuth flow state, and an unknown runtime is refused", async () => {
  const { code, out } = await move("export", "--runtime", "other");
  expect([code, out]).toEqual([EXIT.CLEAN, expect.stringMatching(/^added {5}"other"\nruntimes: 1 added/)]);
  for (const verb of ["export", "import"]) {
    const unknown = await move(verb, "--runtime", "nothing");
    expect([unknown.code, unknown.err]).toEqual([EXIT.USAGE, expect.stringContaining('has no runtime "nothing"')]);
  }
});
