import { type StoredInputState, StoreError } from "@bolthole/contract";
import { DEFAULT_LIMITS, type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputId, inputState } from "../testing/input-states.js";
import { isLongRow } from "./long-rows.js";

const RT = "runtime";
const MIB = 1 << 20;

const prompt = (n: number, text: string): string =>
  `{"input_type":"prompt","header":{"id":"${inputId(n)}","timestamp":"2026-05-28T15:31:27Z","source":{"type":"operator"},` +
  `"durability":"durable","visibility":{"transcript_eligible":true,"operator_eligible":true}},"text":"${text}"}`;

const rowOf = (n: number, text: string, members: Partial<StoredInputState> = {}): StoredInputState => ({
  ...inputState(n),
  persistedInput: prompt(n, text),
  ...members,
});

async function rowsOf(store: EngineStore): Promise<StoredInputState[]> {
  const rows: StoredInputState[] = [];
  for await (const batch of (await store.loadInputStates({ runtimeId: RT })).batches) {
    for (const { value } of batch) rows.push(value);
  }
  return rows;
}

const rejectionOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

test("a row of 20 MiB is stored and loaded with its text, alone and among others", async () => {
  const store = createEngineStore(new MemoryEngine());
  const text = "0123456789abcde\\n".repeat((20 * MIB) / 17);
  await store.persistInputState({ runtimeId: RT, state: rowOf(2, text) });
  await store.persistInputState({ runtimeId: RT, state: rowOf(1, "short") });
  expect((await store.loadInputState({ runtimeId: RT, inputId: inputId(2) }))?.value.persistedInput).toContain(text);
  expect((await rowsOf(store)).map(({ persistedInput }) => persistedInput)).toEqual([
    rowOf(1, "short").persistedInput,
    rowOf(2, text).persistedInput,
  ]);
});

test("the error for a long row names its field as the error for a short one does", async () => {
  const store = createEngineStore(new MemoryEngine());
  for (const text of ["x", "x".repeat(2 * MIB)]) {
    const state = rowOf(1, text, { createdAt: "yesterday" });
    expect(await rejectionOf(store.persistInputState({ runtimeId: RT, state }))).toMatchObject({
      reason: "INVALID_ARGUMENT",
      subject: { record: "state.created_at" },
    });
  }
  expect(await rowsOf(store)).toEqual([]);
});

test("a row above the limit is refused with the limit and the setting that raises it", async () => {
  const store = createEngineStore(new MemoryEngine(), { limits: { ...DEFAULT_LIMITS, inputRowBytes: 2 * MIB } });
  const error = await rejectionOf(store.persistInputState({ runtimeId: RT, state: rowOf(1, "x".repeat(2 * MIB)) }));
  expect(error).toBeInstanceOf(StoreError);
  expect(error).toMatchObject({
    reason: "TOO_LARGE",
    applied: "no",
    subject: { record: "state", expected: "at most 2097152 bytes" },
    text: expect.stringContaining("--max-input-row-size") as string,
  });
});

test("a row is long by any of its texts", () => {
  const long = "x".repeat(MIB);
  const entry = { timestamp: "2026-05-28T15:31:27Z", from: "accepted", to: "queued" } as const;
  expect(isLongRow({ ...inputState(1), history: [entry] })).toBe(false);
  const rows: Partial<StoredInputState>[] = [
    { persistedInput: long },
    { idempotencyKey: long },
    { history: [{ ...entry, reason: long }] },
    { reconstructionSource: { kind: "projection", ruleId: long, sourceEventId: "event" } },
    { reconstructionSource: { kind: "projection", ruleId: "rule", sourceEventId: long } },
  ];
  for (const members of rows) expect(isLongRow({ ...inputState(1), ...members })).toBe(true);
});

test("a load that finds too many long rows waiting is refused as a failed load", async () => {
  const store = createEngineStore(new MemoryEngine());
  await store.persistInputState({ runtimeId: RT, state: rowOf(1, "x".repeat(MIB)) });
  const loads = Array.from({ length: 300 }, () =>
    rejectionOf(store.loadInputState({ runtimeId: RT, inputId: inputId(1) })),
  );
  const refused = (await Promise.all(loads)).filter((error) => error !== undefined);
  expect(refused.length).toBeGreaterThan(0);
  for (const error of refused) expect(error).toMatchObject({ reason: "BUSY", variant: "ReadFailed" });
});

test("loads that wait for the worker hold no long row", async () => {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  await store.persistInputState({ runtimeId: RT, state: rowOf(1, "x".repeat(4 * MIB)) });
  const LOADS = 20;
  let reads = 0;
  let loaded = 0;
  let most = 0;
  const view = engine.view.bind(engine);
  jest.spyOn(engine, "view").mockImplementation((read) => {
    reads += 1;
    // Each load looks at its row once before it waits.
    most = Math.max(most, reads - LOADS - loaded);
    return view(read);
  });
  const load = async (): Promise<void> => {
    const found = await store.loadInputState({ runtimeId: RT, inputId: inputId(1) });
    expect(found?.value.persistedInput?.length).toBeGreaterThan(4 * MIB);
    loaded += 1;
  };
  await Promise.all(Array.from({ length: LOADS }, load));
  expect(reads).toBe(2 * LOADS);
  // The next load may begin just before the one before it is seen to end.
  expect(most).toBeLessThanOrEqual(2);
  jest.restoreAllMocks();
});

test("a load of all rows reads its long rows one by one", async () => {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  for (const n of [1, 2, 3]) await store.persistInputState({ runtimeId: RT, state: rowOf(n, "x".repeat(2 * MIB)) });
  const loaded = await store.loadInputStates({ runtimeId: RT });
  const rows: string[] = [];
  for await (const batch of loaded.batches) {
    expect(batch).toHaveLength(1);
    rows.push(...batch.map(({ value }) => value.inputId));
  }
  expect(rows).toEqual([1, 2, 3].map(inputId));
});
