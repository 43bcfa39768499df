import fc from "fast-check";
import type { RuntimeStoreAdapter, StoredInputState, VersionedStore } from "@bolthole/contract";
import { failureOf } from "../testing/failure-of.js";
import { RT, SharedStore, append, documentOf, idOf, opaque, receipt, row, rows } from "../testing/shared-store.js";
import { type CachedRow, CachedRows, isSameRow } from "./input-row-cache.js";

describe("input rows of a request", () => {
  const apply = (store: VersionedStore, sequence: number, inputUpdates: readonly StoredInputState[]) =>
    store.atomicApply({
      runtimeId: RT,
      sessionDelta: undefined,
      receipt: receipt(sequence),
      inputUpdates,
      sessionStoreKey: undefined,
    });

  test("are sent when they changed, and the response is the same as if all rows were sent", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    const { version } = await apply(versioned, 0, rows(5));
    const response = await apply(versioned, 1, [row(0), row(1, 1), row(2), row(3), row(4)]);
    expect(recorder.sent.map(({ rows: numbers }) => numbers)).toEqual([[0, 1, 2, 3, 4], [1]]);
    expect(response.keptInputs).toEqual([0, 2, 3, 4].map((n) => ({ inputId: idOf(n), version })));
    const again = await apply(versioned, 2, [row(0), row(1, 1), row(2)]);
    expect(again.keptInputs.map((kept) => kept.version)).toEqual([version, response.version, version]);
    const loaded = await shared.client().store.loadInputStates(RT);
    expect(loaded.map(({ attemptCount }) => attemptCount)).toEqual([0, 1, 0, 0, 0]);
  });

  test("are cached from loads, from single writes and from lifecycle commits", async () => {
    const shared = new SharedStore();
    await apply(shared.plain, 0, rows(3));
    const { recorder, store, versioned } = shared.client();
    const loaded = await store.loadInputStates(RT);
    await store.persistInputState(RT, row(7));
    await store.commitMachineLifecycle(RT, { runtimeState: "idle", binding: {} }, [...loaded, row(8)]);
    await apply(versioned, 1, [...loaded, row(7), row(8), row(9)]);
    expect(recorder.take().map(({ rows: numbers }) => numbers)).toEqual([[], [8], [9]]);
  });

  test("are sent when the caller changed them in place", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    const mine = rows(3) as { attemptCount: number }[] & StoredInputState[];
    await apply(versioned, 0, mine);
    for (const one of mine.slice(1)) one.attemptCount = 5;
    await apply(versioned, 1, mine);
    expect(recorder.sent.at(-1)?.rows).toEqual([1, 2]);
    expect((await shared.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([0, 5, 5]);
  });

  test("are sent when the caller changed them during a single write", async () => {
    const shared = new SharedStore();
    const { store, versioned } = shared.client();
    const mine = row(0) as StoredInputState & { attemptCount: number };
    const written = store.persistInputState(RT, mine);
    mine.attemptCount = 5;
    await written;
    await apply(versioned, 0, [mine]);
    expect((await shared.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([5]);
  });

  test("leave the cache when they exceed its budget, after single writes and after a load", async () => {
    const { recorder, store, versioned } = new SharedStore().client({ inputRowCacheBytes: 20_000 });
    for (const one of rows(10)) await store.persistInputState(RT, one);
    await apply(versioned, 0, rows(10));
    expect(recorder.take().at(-1)?.unchanged).toBe(true);
    for (const one of rows(30)) await store.persistInputState(RT, one);
    await store.loadInputStates(RT);
    await apply(versioned, 1, rows(30));
    const [last] = recorder.take().slice(-1);
    expect(last?.rows.length).toBeGreaterThan(10);
  });

  test("are all sent under a new request id when another client has written one", async () => {
    const shared = new SharedStore();
    const [one, other] = [shared.client(), shared.client()];
    await apply(one.versioned, 0, rows(3));
    await other.store.persistInputState(RT, row(1, 7));
    one.recorder.take();
    await apply(one.versioned, 1, [row(0), row(1), row(2, 1)]);
    const [refused, sent] = one.recorder.take();
    expect([refused?.rows, sent?.rows]).toEqual([[2], [0, 1, 2]]);
    expect(refused?.requestId).not.toBe(sent?.requestId);
    expect((await other.store.loadInputStates(RT)).map((state) => state.attemptCount)).toEqual([0, 0, 1]);
    await apply(one.versioned, 2, [row(0), row(1), row(2, 2)]);
    expect(one.recorder.take().map(({ rows: numbers }) => numbers)).toEqual([[2]]);
  });

  test("are all sent with the full document when another client has written both", async () => {
    const shared = new SharedStore();
    const [one, other] = [shared.client(), shared.client()];
    const document = documentOf("document");
    const turn = (store: RuntimeStoreAdapter, sequence: number, text: string, attempt: number) =>
      store.atomicApply(RT, opaque(append(document, text)), receipt(sequence), [row(0), row(1, attempt)], undefined);
    await turn(one.store, 0, "a", 0);
    await turn(other.store, 1, "b", 1);
    one.recorder.take();
    await turn(one.store, 2, "c", 2);
    const sent = one.recorder.take();
    expect(sent.map((request) => [request.document, request.rows])).toEqual([
      ["patch", [1]],
      ["whole", [0, 1]],
    ]);
  });

  test("keep their index among all rows in the error about an invalid row", async () => {
    const { versioned } = new SharedStore().client();
    await apply(versioned, 0, rows(3));
    const bad = { ...row(2), createdAt: "yesterday" };
    const error = await failureOf(apply(versioned, 1, [row(0), row(1), bad]));
    expect(error.subject.record).toBe("input_updates[2].created_at");
  });

  test("are all sent when an id is repeated or has another spelling", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    await apply(versioned, 0, rows(3));
    await apply(versioned, 1, [row(1, 4), row(1)]);
    const shouted = { ...row(0, 6), inputId: idOf(0).toUpperCase() };
    await apply(versioned, 2, [shouted, row(1)]);
    await apply(versioned, 3, [row(0), row(1)]);
    expect(recorder.sent.map(({ rows: numbers }) => numbers)).toEqual([
      [0, 1, 2],
      [1, 1],
      [0, 1],
      [0, 1],
    ]);
    expect((await shared.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([0, 0, 0]);
  });

  test("are all sent when the cache is off", async () => {
    const { recorder, versioned } = new SharedStore().client({ inputRowCacheBytes: 0 });
    for (const sequence of [0, 1]) await apply(versioned, sequence, rows(2));
    expect(recorder.sent.map(({ rows: numbers }) => numbers)).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });
});

type Row = readonly [n: number, attempt: number];

const cachedRow = ([n, attempt]: Row): CachedRow => ({
  state: row(n, attempt),
  bytes: 10 + n,
  version: `${n} ${attempt}`,
});
const oneRow: fc.Arbitrary<Row> = fc.tuple(fc.nat(7), fc.nat(2));
const distinct = fc.uniqueArray(oneRow, { selector: ([n]) => n });
/** The cached rows in their old order, with some removed, changed, added, moved or repeated. */
const request = fc
  .tuple(distinct, fc.array(fc.tuple(fc.nat(8), oneRow), { maxLength: 3 }), fc.nat(3))
  .map(([rows, inserted, gone]) => inserted.reduce((all, [at, one]) => all.toSpliced(at, 0, one), rows.slice(gone)));

test("a row is found when it is cached in the same form, in any order, and no row is found when an id is repeated", () => {
  fc.assert(
    fc.property(distinct, distinct, request, fc.boolean(), (first, later, asked, isInOrder) => {
      const rows = CachedRows.of([...first, ...later].map(cachedRow));
      const stored = new Map([...first, ...later].map((one) => [one[0], one[1]]));
      const given = isInOrder ? [...stored].map(([n, attempt]): Row => [n, (attempt + n) % 2]) : asked;
      const isDistinct = new Set(given.map(([n]) => n)).size === given.length;
      const isCached = ([n, attempt]: Row): boolean => isDistinct && stored.get(n) === attempt;
      const compared = rows.compare(given.map(([n, attempt]) => row(n, attempt)));
      expect(given.map((_, index) => compared.cached[index]?.version)).toEqual(
        given.map((one) => (isCached(one) ? cachedRow(one).version : undefined)),
      );
      expect(compared.sent).toEqual(given.filter((one) => !isCached(one)).map(([n, a]) => row(n, a)));
      expect(rows.bytes).toBe([...stored.keys()].reduce((total, n) => total + 10 + n, 0));
    }),
    { numRuns: 500 },
  );
});

const INSTANT = "2026-05-28T15:31:27.123456789Z";

/** A row with a value in every field. The type makes the compiler ask for a new field here. */
const fullRow = (): Required<StoredInputState> => ({
  inputId: "0198f0a0-0001-7000-8000-000000000001",
  currentState: "consumed",
  policy: {
    version: 1n,
    decision: {
      applyMode: "inject_now",
      wakeMode: "none",
      queueMode: "fifo",
      consumePoint: "on_apply",
      drainPolicy: "immediate",
      routingDisposition: "queue",
      recordTranscript: true,
      emitOperatorContent: false,
      policyVersion: 1n,
    },
  },
  runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
  terminalOutcome: { kind: "consumed" },
  durability: "durable",
  idempotencyKey: "key",
  attemptCount: 1,
  recoveryCount: 1,
  history: [{ timestamp: INSTANT, from: "accepted", to: "queued", reason: "because" }],
  reconstructionSource: { kind: "coalescing", sourceInputIds: ["0198f0a0-0001-7000-8000-000000000002"] },
  persistedInput: "{}",
  lastRunId: "0198f0a0-0003-7000-8000-000000000001",
  lastBoundarySequence: 1n,
  admissionSequence: 1n,
  recoveryLane: "queue",
  createdAt: INSTANT,
  updatedAt: INSTANT,
});

const fields = Object.keys(fullRow()) as (keyof StoredInputState)[];

test("a copy of a row is the same row", () => {
  expect(isSameRow(fullRow(), fullRow())).toBe(true);
});

test.each(fields)("another %s makes another row", (field) => {
  expect(isSameRow(fullRow(), { ...fullRow(), [field]: changed(fullRow()[field]) })).toBe(false);
});

test.each(["timestamp", "from", "to", "reason"])("another %s in the history makes another row", (field) => {
  const [entry] = fullRow().history;
  expect(isSameRow(fullRow(), { ...fullRow(), history: [{ ...entry, [field]: "other" }] as never })).toBe(false);
  expect(isSameRow(fullRow(), { ...fullRow(), history: [] })).toBe(false);
  expect(isSameRow({ ...fullRow(), history: [] }, fullRow())).toBe(false);
});

function changed(value: unknown): unknown {
  if (typeof value === "bigint") return value + 1n;
  if (typeof value === "number") return value + 1;
  if (typeof value === "string") return `${value}!`;
  if (Array.isArray(value)) return [...(value as unknown[]), ...(value as unknown[])];
  return { ...(value as object), kind: "other" };
}
