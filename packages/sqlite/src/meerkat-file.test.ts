import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ExportedPart,
  type ImportResult,
  type RuntimeContents,
  type RuntimePart,
  emptyContents,
  exportContents,
  partsOf,
} from "@bolthole/contract";
import { inputId, inputState } from "@bolthole/core/testing";
import { MeerkatFile } from "./meerkat-file.js";
import { DatabaseProcess } from "./testing/database-process.js";

const RT = "rt";
/** More rows than a page has. */
const ROWS = 1300;

const contents = (inputs: number, receipts: number, attemptCount = 0): RuntimeContents => ({
  ...emptyContents(RT),
  inputs: Array.from({ length: inputs }, (_, n) => inputState(n, attemptCount)),
  receipts: Array.from({ length: receipts }, (_, n) => ({
    runId: inputId(Math.floor(n / 100)),
    boundary: "run_start",
    contributingInputIds: [],
    messageCount: BigInt(attemptCount),
    // The numbers and the texts have different orders.
    sequence: BigInt(n % 100),
  })),
});

let folder: string;
let path: string;
let file: MeerkatFile;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-meerkat-"));
  path = join(folder, "sessions.sqlite3");
  file = await MeerkatFile.openToWrite(path);
});
afterEach(async () => {
  await file.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Flags {
  readonly overwrite?: boolean;
  readonly dryRun?: boolean;
  readonly isWanted?: boolean;
}

const write = async (
  parts: AsyncIterable<ExportedPart>,
  { overwrite = false, dryRun = false, isWanted = true }: Flags = {},
): Promise<ImportResult | undefined> =>
  (await file.write(RT, parts, { overwrite, dryRun, isWanted: () => isWanted })).result;

/** Returns the contents of the file as a store would import them. */
const read = (from: MeerkatFile = file): Promise<RuntimeContents | undefined> =>
  from.reading(RT, (runtime) =>
    exportContents({ exportRuntime: () => Promise.resolve(runtime.parts()) }, { runtimeId: RT }),
  );

const full = contents(ROWS, ROWS);

test("a runtime is written, compared and read page by page", async () => {
  expect(await write(partsOf(full), { dryRun: true })).toBe("added");
  expect(await read()).toMatchObject({ inputs: [], receipts: [] });
  expect(await write(partsOf(full))).toBe("added");
  expect(await read()).toMatchObject(full);
  expect(await write(partsOf(full))).toBe("unchanged");
  expect(await write(partsOf(full), { overwrite: true })).toBe("unchanged");
});

test.each<[string, RuntimeContents]>([
  ["the first row", { ...full, inputs: [inputState(0, 9), ...full.inputs.slice(1)] }],
  ["the last input row", { ...full, inputs: [...full.inputs.slice(0, -1), inputState(ROWS - 1, 9)] }],
  ["fewer input rows", contents(ROWS - 700, ROWS)],
  ["no input rows", contents(0, ROWS)],
  ["more rows", contents(ROWS + 700, ROWS + 700)],
  [
    "a late receipt",
    { ...full, receipts: full.receipts.map((one, n) => (n === 1250 ? { ...one, messageCount: 5n } : one)) },
  ],
  ["fewer receipts", contents(ROWS, ROWS - 700)],
  ["no receipts", contents(ROWS, 0)],
  ["a few rows", contents(2, 1, 3)],
])("a runtime that differs in %s is kept, and replaced with overwrite", async (_what, other) => {
  await write(partsOf(full));
  expect(await write(partsOf(other))).toBe("kept");
  expect(await write(partsOf(other), { overwrite: true, dryRun: true })).toBe("replaced");
  expect(await read()).toMatchObject(full);
  expect(await write(partsOf(other), { overwrite: true })).toBe("replaced");
  expect(await read()).toMatchObject(other);
  expect(await write(partsOf(other))).toBe("unchanged");
});

test("an error in the middle of the parts, or a runtime that is not wanted, changes nothing", async () => {
  await write(partsOf(full));
  const other = contents(ROWS, ROWS, 1);
  async function* failing(): AsyncGenerator<RuntimePart, void> {
    yield* partsOf({ ...other, receipts: [] });
    throw new Error("the stream");
  }
  await expect(write(failing(), { overwrite: true })).rejects.toThrow("the stream");
  expect(await write(partsOf(other), { overwrite: true, isWanted: false })).toBeUndefined();
  expect(await read()).toMatchObject(full);
});

test("a row that cannot be read is a difference, and is refused by a read", async () => {
  await write(partsOf(full));
  const other = new DatabaseProcess(path);
  try {
    await other.exec(
      `UPDATE runtime_input_states SET state_json = CAST('{' AS BLOB) WHERE input_id = '${inputId(900)}'`,
    );
    await other.exec(
      `UPDATE runtime_input_states SET input_id = CAST(input_id AS BLOB) WHERE input_id = '${inputId(7)}'`,
    );
  } finally {
    await other.kill();
  }
  const refused = await file.reading(RT, (runtime) => Promise.resolve(runtime.refused.map(({ record }) => record)));
  expect(refused).toEqual([`input state ${inputId(900)}`, `input state ${inputId(7)} (not text)`]);
  expect((await read())?.inputs).toEqual(full.inputs.filter((_, n) => n !== 900 && n !== 7));
  expect(await write(partsOf(full))).toBe("kept");
  expect(await write(partsOf(full), { overwrite: true })).toBe("replaced");
  expect(await read()).toMatchObject(full);
});

test("a file that another process writes while its rows are passed on is read again, and nothing of the first time counts", async () => {
  await write(partsOf(contents(3, 3)));
  await file.close();
  // A copy of the one file has no log, and is read without locks.
  const copy = join(folder, "copy.sqlite3");
  copyFileSync(path, copy);
  const readOnly = await MeerkatFile.openToRead(copy);
  const other = new DatabaseProcess(copy);
  try {
    let calls = 0;
    const ended: boolean[] = [];
    const receipts = await readOnly.reading(RT, async (runtime) => {
      calls += 1;
      if (calls === 1) {
        await other.exec("DELETE FROM runtime_boundary_receipts");
        await other.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      }
      let found = 0;
      const received = async (): Promise<void> => {
        for await (const part of runtime.parts()) if (part.kind === "receipts") found += part.receipts.length;
      };
      ended.push(
        await received().then(
          () => true,
          () => false,
        ),
      );
      return found;
    });
    expect([calls, ended, receipts]).toEqual([2, [false, true], 0]);
  } finally {
    await other.kill();
    await readOnly.close();
    file = await MeerkatFile.openToWrite(path);
  }
});
