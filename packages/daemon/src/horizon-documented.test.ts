import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "@bolthole/lmdb";
import { Daemons, bolthole } from "./testing/daemons.js";
import { documentedCommands, runDocumented } from "./testing/documented-commands.js";
import { inputRow } from "./testing/input-row.js";

const MINUTE_MS = 60 * 1000;
const HOUR_MS = 60 * MINUTE_MS;

/** Returns a UUIDv7 with this time. */
function requestIdAt(timeMs: number): string {
  const time = timeMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000001`;
}

interface Times {
  readonly horizon: string;
  readonly storeTime: string;
  readonly latest: string;
}

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-horizon-"));
  const data = join(folder, "data");
  mkdirSync(data, { mode: 0o700 });
  const engine = await LmdbEngine.open(data);
  const store = createEngineStore(engine);
  const requestId = requestIdAt(Date.now() + 2 * MINUTE_MS);
  await store.persistInputState({ runtimeId: "planner", state: inputRow("stored"), requestId });
  await engine.close();
  await run("backup", join(folder, "copy"), "--data", data);
  await run("restore", join(folder, "copy"), "--data", join(folder, "restored"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function run(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await bolthole(...args);
  if (code !== 0) throw new Error(`bolthole ${args.join(" ")} ended with exit code ${code}: ${out}${err}`);
  return out;
}

const timesOf = async (data: string): Promise<Times> =>
  JSON.parse(await run("horizon", "--data", join(folder, data), "--json")) as Times;

async function runSection(): Promise<void> {
  const before = await timesOf("restored");
  expect(Date.parse(before.horizon)).toBeGreaterThan(Date.now() + HOUR_MS / 2);
  const all = documentedCommands("operating.md", "The horizon");
  expect(all).toHaveLength(2);
  const outputs: string[] = [];
  for (const { commands } of all) outputs.push(await runDocumented(commands, folder));
  expect(outputs[0]).toContain(`horizon     ${before.horizon}, request ids below it are refused\n`);
  const after = await timesOf("restored");
  expect(Date.parse(after.horizon)).toBeLessThanOrEqual(Date.now());
  expect(Date.parse(after.storeTime)).toBeGreaterThanOrEqual(Date.parse(after.horizon));
  expect(Date.parse(after.latest)).toBeGreaterThan(Date.now());
  // The outcome is above the chosen horizon, so it is kept.
  expect(outputs[1]).toContain("dropped: 0 request outcomes, the OAuth flows\nhorizon: ");
}

test("the commands about the horizon in docs/operating.md do what the page says", runSection);

test("the commands about the horizon in docs/operating.md do the same with a running daemon", async () => {
  const daemons = new Daemons();
  try {
    await daemons.serve(daemons.add(join(folder, "restored")), async ({ versioned }) => {
      // The client knows the horizon, although it is above the clock.
      const change = { runtimeId: "planner", state: inputRow("changed") };
      expect(await versioned.persistInputState(change)).toMatchObject({ replayed: false });
      await runSection();
      expect(await versioned.persistInputState({ ...change, requestId: requestIdAt(Date.now()) })).toMatchObject({
        replayed: false,
      });
    });
  } finally {
    await daemons.end();
  }
});

test.each([
  [["horizon", "--set", "yesterday"], "Expected an instant"],
  [["horizon", "--set", "2999-01-01T00:00:00Z"], "expected a time up to"],
])("%j is refused", async (args, text) => {
  const { code, err } = await bolthole(...args, "--data", join(folder, "data"));
  expect([code, err]).toEqual([2, expect.stringContaining(text)]);
});

test("a restore refuses a horizon below the one of the backup, and leaves nothing behind", async () => {
  await run("horizon", "--data", join(folder, "data"), "--set", "2026-01-01T00:00:00Z");
  await run("backup", join(folder, "copy"), "--data", join(folder, "data"));
  const target = join(folder, "refused");
  const { code, err } = await bolthole(
    ...["restore", join(folder, "copy"), "--data", target, "--horizon", "2025-12-31T00:00:00Z"],
  );
  expect([code, err]).toEqual([2, expect.stringContaining("expected a time from 2026-01-01T00:00:00.000Z")]);
});
