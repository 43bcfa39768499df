import { setImmediate } from "node:timers/promises";
import type { Finding, RuntimeId } from "@bolthole/contract";
import { quarantine } from "../audit/quarantine.js";
import { ReadSet } from "../commit/row.js";
import type { Engine, Row, RowKey, RowWrite, WriteBatch } from "../engine.js";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputId, inputState } from "../testing/input-states.js";
import { SteppedClock } from "../testing/stepped-clock.js";
import { Scrub, type ScrubNote, type ScrubOptions } from "./scrub.js";

const HOUR = 3_600_000;
const document = Buffer.alloc(600_000, "document");

/** Returns an engine with more rows than one slice contains, and a document of several slices. */
async function filled(runtimes: readonly RuntimeId[] = ["one", "two"]): Promise<MemoryEngine> {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  for (const runtimeId of runtimes) {
    for (let serial = 0; serial < 40; serial += 1)
      await store.persistInputState({ runtimeId, state: inputState(serial) });
    const sessionDelta = { sessionSnapshot: document, profile: "opaque" } as const;
    await store.commitSessionSnapshot({ runtimeId, sessionDelta });
  }
  await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("flows") });
  return engine;
}

/** Changes a row without its manifests. */
const damage = (engine: Engine, key: RowKey, change: (row: Row) => Row | undefined): Promise<void> =>
  engine.commit(batchOf(key, (stored) => ({ row: stored && change(stored) })));

function batchOf(
  key: RowKey,
  decide: (stored: Row | undefined) => Pick<RowWrite, "row" | "document">,
): WriteBatch<undefined> {
  const reads = new ReadSet();
  const handle = reads.add(key);
  return {
    reads,
    bytes: 0,
    decide: (rows) => ({ writes: [{ handle, ...decide(rows.get(handle)) }], result: undefined, freesSpace: false }),
  };
}

const flipped = (stored: Row): Row => {
  const value = Buffer.from(stored.value);
  value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
  return { ...stored, value };
};

interface Watched {
  readonly scrub: Scrub;
  readonly found: string[];
  readonly faults: unknown[];
  readonly notes: ScrubNote[];
  /** Advances the clock until this number of passes has ended. */
  passes(count: number): Promise<void>;
}

const scrubs: Scrub[] = [];
afterEach(async () => {
  for (const scrub of scrubs.splice(0)) await scrub.stop();
});

const nameOf = ({ code, runtimeId, record }: Finding): string => [code, runtimeId, record].filter(Boolean).join(" ");

function watched(engine: Engine, clock: SteppedClock, options: Partial<ScrubOptions> = {}): Watched {
  const found: string[] = [];
  const faults: unknown[] = [];
  const notes: ScrubNote[] = [];
  const scrub = new Scrub(engine, {
    bytesPerSecond: 256 << 10,
    intervalMs: HOUR,
    memory: { load: () => undefined, save: (note) => notes.push(structuredClone(note)) },
    onFinding: (finding) => found.push(nameOf(finding)),
    onFault: (error) => faults.push(error),
    clock,
    ...options,
  });
  scrubs.push(scrub);
  const passes = async (count: number): Promise<void> => {
    for (let step = 0; step < 100_000 && scrub.status().passes < count; step += 1) {
      clock.advance(60_000);
      await setImmediate();
    }
    expect(scrub.status().passes).toBeGreaterThanOrEqual(count);
  };
  return { scrub, found, faults, notes, passes };
}

test("an undamaged store has no findings, and a pass reads all of it", async () => {
  const { scrub, found, faults, passes } = watched(await filled(), new SteppedClock());
  scrub.start();
  await passes(2);
  expect([found, faults]).toEqual([[], []]);
  expect(scrub.status().last).toMatchObject({ runtimes: 2, findingCount: 0, findings: [] });
  expect(scrub.status().last?.bytes).toBeGreaterThan(2 * document.length);
});

const inputKey: RowKey = { table: "input", runtimeId: "one", inputId: inputId(30) };
const snapshotKey: RowKey = { table: "snapshot", runtimeId: "one" };

/** Replaces a document by another one of the same length, and keeps the row. */
async function exchangeDocument(engine: MemoryEngine): Promise<void> {
  const stored = await engine.view((view) => view.get(snapshotKey));
  const other = await engine.stage("one", stored?.sequence, [Buffer.alloc(document.length, "another")]);
  await engine.commit(batchOf(snapshotKey, (row) => ({ row, document: other })));
}

test.each<[string, (engine: MemoryEngine) => Promise<void>, string[]]>([
  ["a changed row", (engine) => damage(engine, inputKey, flipped), [`row-damaged one input state ${inputId(30)}`]],
  ["a row that vanished", (engine) => damage(engine, inputKey, () => undefined), ["head-differs one runtime manifest"]],
  [
    "a changed runtime manifest",
    (engine) => damage(engine, { table: "runtimeManifest", runtimeId: "one" }, flipped),
    ["row-damaged one runtime manifest", "head-missing one runtime manifest"],
  ],
  ["OAuth flows that vanished", (engine) => damage(engine, { table: "oauth" }, () => undefined), ["store-differs"]],
  ["changed OAuth flows", (engine) => damage(engine, { table: "oauth" }, flipped), ["row-damaged OAuth flow snapshot"]],
  [
    "a changed store manifest",
    (engine) => damage(engine, { table: "storeManifest" }, flipped),
    ["row-damaged store manifest"],
  ],
  ["a document that does not match its row", exchangeDocument, ["document-differs one session snapshot"]],
])("%s is found, and nothing else", async (_what, change, expected) => {
  const engine = await filled();
  await change(engine);
  const { scrub, found, faults, passes } = watched(engine, new SteppedClock());
  scrub.start();
  await passes(1);
  expect(found).toEqual(expected);
  expect(faults).toEqual([]);
  expect(scrub.status().last).toMatchObject({ runtimes: 2, findingCount: expected.length });
});

test("repaired damage is not among the findings of the next pass", async () => {
  const engine = await filled();
  await damage(engine, snapshotKey, flipped);
  const { scrub, passes } = watched(engine, new SteppedClock());
  scrub.start();
  await passes(1);
  expect(scrub.status().last?.findings.map(nameOf)).toEqual(["row-damaged one session snapshot"]);
  await createEngineStore(engine).clearSessionSnapshot({ runtimeId: "one" });
  await passes(2);
  expect(scrub.status().last).toMatchObject({ findingCount: 0, findings: [] });
});

test("a runtime with found damage is refused from then on, and other runtimes are served", async () => {
  const engine = await filled();
  const untrusted = new Set<RuntimeId>();
  const store = createEngineStore(quarantine(engine, untrusted));
  await damage(engine, inputKey, () => undefined);
  const onFinding = ({ runtimeId = "" }: Finding): unknown => untrusted.add(runtimeId);
  const { scrub, passes } = watched(engine, new SteppedClock(), { onFinding });
  expect(await store.loadInputState({ runtimeId: "one", inputId: inputId(4) })).toMatchObject({ value: inputState(4) });
  scrub.start();
  await passes(1);
  const damaged = { reason: "DAMAGED_RECORD", subject: { runtimeId: "one" } };
  await expect(store.loadInputState({ runtimeId: "one", inputId: inputId(4) })).rejects.toMatchObject(damaged);
  await expect(store.persistInputState({ runtimeId: "one", state: inputState(1) })).rejects.toMatchObject(damaged);
  expect(await store.loadInputState({ runtimeId: "two", inputId: inputId(4) })).toMatchObject({ value: inputState(4) });
});

test("a pass reads no more than the rate, and the next pass waits for the interval", async () => {
  const clock = new SteppedClock();
  const { scrub, passes } = watched(await filled(), clock, { bytesPerSecond: 10_000 });
  scrub.start();
  await passes(1);
  const first = scrub.status().last;
  if (first?.endedAt === undefined) throw new Error("no pass has ended");
  const seconds = (first.endedAt - first.startedAt) / 1000;
  // The rests after the last slices may not have been taken yet.
  expect(seconds).toBeGreaterThan(first.bytes / 10_000 - 1);
  expect(seconds).toBeLessThan(2 * (first.bytes / 10_000));
  expect(scrub.status().isRunning).toBe(false);
  await passes(3);
  const { last } = scrub.status();
  expect((last?.startedAt ?? 0) - first.startedAt).toBe(2 * HOUR);
});

test("after a restart the scrub checks known damage first, and continues where it was", async () => {
  const runtimes = Array.from({ length: 30 }, (_, index) => `runtime ${String(index + 10)}`);
  const engine = await filled(runtimes);
  await damage(engine, { ...inputKey, runtimeId: "runtime 11" }, flipped);
  const clock = new SteppedClock();
  const before = watched(engine, clock);
  before.scrub.start();
  for (let step = 0; step < 1000 && (before.scrub.status().current?.runtimes ?? 0) < 12; step += 1) {
    clock.advance(1000);
    await setImmediate();
  }
  await before.scrub.stop();
  const note = before.notes.at(-1);
  const { runtimes: passed = 0, after } = note?.current ?? {};
  expect(passed).toBeGreaterThanOrEqual(12);
  expect(passed).toBeLessThan(30);
  expect(after).toBe(runtimes[passed - 1]);

  const readManifests: string[] = [];
  const spied: Engine = Object.assign(Object.create(engine) as MemoryEngine, {
    view: <T>(read: Parameters<Engine["view"]>[0]) =>
      engine.view((view) =>
        read({
          ...view,
          get: (key) => {
            if (key.table === "runtimeManifest") readManifests.push(key.runtimeId);
            return view.get(key);
          },
        }),
      ) as Promise<T>,
  });
  const next = watched(spied, clock, {
    memory: { load: () => note, save: () => undefined },
    intervalMs: 1_000_000 * HOUR,
  });
  next.scrub.start();
  await next.passes(1);
  expect([...new Set(readManifests)]).toEqual(["runtime 11", ...runtimes.slice(passed)]);
  expect(next.found).toEqual([`row-damaged runtime 11 input state ${inputId(30)}`]);
  expect(next.scrub.status().last).toMatchObject({ runtimes: 30, findingCount: 1 });
});

test("after a restart the next pass waits until it is due", async () => {
  const clock = new SteppedClock();
  const startedAt = clock.now() - HOUR / 2;
  const load = (): ScrubNote => ({
    passes: 7,
    last: { startedAt, endedAt: clock.now(), runtimes: 2, bytes: 9, findingCount: 0, findings: [] },
  });
  const { scrub, passes } = watched(await filled(), clock, { memory: { load, save: () => undefined } });
  scrub.start();
  await passes(8);
  expect(scrub.status().last?.startedAt).toBe(startedAt + HOUR);
});

test("an error of one read is reported, and everything else is read", async () => {
  const engine = await filled();
  const broken: Engine = Object.assign(Object.create(engine) as MemoryEngine, {
    view: (read: Parameters<Engine["view"]>[0]) =>
      engine.view((view) =>
        read({
          ...view,
          scan: (range, limit) => {
            if (range.table === "input" && range.runtimeId === "one") throw new TypeError("a programming error");
            return view.scan(range, limit);
          },
        }),
      ),
  });
  const { scrub, found, faults, passes } = watched(broken, new SteppedClock());
  scrub.start();
  await passes(1);
  expect(found).toEqual([]);
  expect(faults).toEqual([new TypeError("a programming error")]);
  expect(scrub.status().last?.runtimes).toBe(2);
});
