import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Finding, RuntimeContents } from "@bolthole/contract";
import { exportContents } from "@bolthole/contract";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { Environment } from "../environment.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { checkFolder } from "../maintenance/check.js";
import { inputState } from "@bolthole/core/testing";
import { MANY_ROWS, importOver, rowSet, rowSpaceValues } from "../testing/row-sets.js";

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

/** A runtime id whose keys contain only its hash. */
const LONG = "long ".repeat(300);

/** A copy of the folder after one transaction, and the contents that may be stored at that moment. */
interface Crash {
  readonly at: string;
  readonly allowed: readonly (RuntimeContents | undefined)[];
}

async function findingsOf(at: string): Promise<Finding[]> {
  const found: Finding[] = [];
  await checkFolder(at, { onFinding: (finding) => found.push(finding) });
  return found;
}

test.each(["rt", LONG])(
  "after a crash between any two transactions a runtime has its old rows or its new ones, and nothing is left over (%#)",
  async (runtimeId) => {
    const crashes: Crash[] = [];
    let allowed: (RuntimeContents | undefined)[] = [undefined];
    let longest = 0;
    const { write } = Environment.prototype;
    jest.spyOn(Environment.prototype, "write").mockImplementation(async function (this: Environment, puts) {
      longest = Math.max(longest, puts.length);
      await write.call(this, puts);
      const at = join(site, String(crashes.length));
      cpSync(folder, at, { recursive: true });
      crashes.push({ at, allowed });
    });
    const engine = await LmdbEngine.open(folder);
    const store = createEngineStore(engine);
    const step = async (next: RuntimeContents | undefined, change: (store: EngineStore) => Promise<unknown>) => {
      allowed = [...allowed.slice(-1), next];
      await change(store);
      await engine.reclaimed();
    };
    const replaced = (contents: RuntimeContents) => step(contents, () => importOver(store, contents));
    await replaced(rowSet(runtimeId, 3, 0));
    await replaced(rowSet(runtimeId, MANY_ROWS, 1));
    await replaced(rowSet(runtimeId, MANY_ROWS + 1, 2));
    await replaced(rowSet(runtimeId, 2, 3));
    await step(undefined, () => store.deleteRuntime({ runtimeId }));
    await replaced(rowSet(runtimeId, MANY_ROWS, 4));
    await step(undefined, () => store.deleteRuntime({ runtimeId }));
    await replaced({ ...rowSet(runtimeId, 0, 0), inputs: [inputState(7)] });
    await engine.close();
    jest.restoreAllMocks();

    // Three large imports in slices, their commits, and the reclaiming.
    expect(crashes.length).toBeGreaterThan(30);
    // No transaction grows with the number of rows.
    expect(longest).toBeLessThan(300);
    for (const crash of crashes) {
      // Everything in the copy is accounted for, before and after the work that the next start completes.
      const unfinished = (await findingsOf(crash.at)).map(({ code }) => code);
      expect(unfinished.filter((code) => code !== "row-space-unfinished")).toEqual([]);
      const reopened = await LmdbEngine.open(crash.at);
      await reopened.reclaimed();
      const found = await exportContents(createEngineStore(reopened), { runtimeId, salvage: false });
      await reopened.close();
      expect(found?.findings ?? []).toEqual([]);
      // Without the findings, an export is the contents that were imported.
      expect(crash.allowed.map((contents) => contents && { ...contents, findings: [] })).toContainEqual(found);
      expect(await findingsOf(crash.at)).toEqual([]);
      const values = await rowSpaceValues(crash.at);
      const rows = (found?.inputs.length ?? 0) + (found?.receipts.length ?? 0);
      // The rows are in one row space: in the default one, or in one with a pointer.
      expect([{}, { pointer: 1, row: rows }]).toContainEqual(values);
    }
    expect(await rowSpaceValues(folder)).toEqual({});
  },
);
