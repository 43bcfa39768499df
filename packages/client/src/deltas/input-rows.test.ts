import type { RuntimeStoreAdapter, StoredInputState, VersionedStore } from "@bolthole/contract";
import { failureOf } from "../failure.test.helper.js";
import { RT, Site, bytesOf, delta, idOf, receipt, row, rows, with_ } from "./site.test.helper.js";

describe("input rows", () => {
  const apply = (store: VersionedStore, sequence: number, inputUpdates: readonly StoredInputState[]) =>
    store.atomicApply({
      runtimeId: RT,
      sessionDelta: undefined,
      receipt: receipt(sequence),
      inputUpdates,
      sessionStoreKey: undefined,
    });

  test("travel when they changed, and the answer is as if all had travelled", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    const { version } = await apply(versioned, 0, rows(5));
    const answer = await apply(versioned, 1, [row(0), row(1, 1), row(2), row(3), row(4)]);
    expect(line.sent.map(({ rows: numbers }) => numbers)).toEqual([[0, 1, 2, 3, 4], [1]]);
    expect(answer.keptInputs).toEqual([0, 2, 3, 4].map((n) => ({ inputId: idOf(n), version })));
    const again = await apply(versioned, 2, [row(0), row(1, 1), row(2)]);
    expect(again.keptInputs.map((kept) => kept.version)).toEqual([version, answer.version, version]);
    const loaded = await site.client().store.loadInputStates(RT);
    expect(loaded.map(({ attemptCount }) => attemptCount)).toEqual([0, 1, 0, 0, 0]);
  });

  test("are known from a load, from single writes and from lifecycle commits", async () => {
    const site = new Site();
    await apply(site.plain, 0, rows(3));
    const { line, store, versioned } = site.client();
    const loaded = await store.loadInputStates(RT);
    await store.persistInputState(RT, row(7));
    await store.commitMachineLifecycle(RT, { runtimeState: "idle", binding: {} }, [...loaded, row(8)]);
    await apply(versioned, 1, [...loaded, row(7), row(8), row(9)]);
    expect(line.take().map(({ rows: numbers }) => numbers)).toEqual([[], [8], [9]]);
  });

  test("that the caller changed in place travel", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    const mine = rows(3) as { attemptCount: number }[] & StoredInputState[];
    await apply(versioned, 0, mine);
    for (const one of mine.slice(1)) one.attemptCount = 5;
    await apply(versioned, 1, mine);
    expect(line.sent.at(-1)?.rows).toEqual([1, 2]);
    expect((await site.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([0, 5, 5]);
  });

  test("that the caller changed while one was written by itself travel", async () => {
    const site = new Site();
    const { store, versioned } = site.client();
    const mine = row(0) as StoredInputState & { attemptCount: number };
    const written = store.persistInputState(RT, mine);
    mine.attemptCount = 5;
    await written;
    await apply(versioned, 0, [mine]);
    expect((await site.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([5]);
  });

  test("are forgotten when they have more bytes than the budget, however they came", async () => {
    const { line, store, versioned } = new Site().client({ knownInputBytes: 20_000 });
    for (const one of rows(10)) await store.persistInputState(RT, one);
    await apply(versioned, 0, rows(10));
    expect(line.take().at(-1)?.unchanged).toBe(true);
    for (const one of rows(30)) await store.persistInputState(RT, one);
    await store.loadInputStates(RT);
    await apply(versioned, 1, rows(30));
    const [last] = line.take().slice(-1);
    expect(last?.rows.length).toBeGreaterThan(10);
  });

  test("all travel, under another request id, when somebody else wrote one", async () => {
    const site = new Site();
    const [one, other] = [site.client(), site.client()];
    await apply(one.versioned, 0, rows(3));
    await other.store.persistInputState(RT, row(1, 7));
    one.line.take();
    await apply(one.versioned, 1, [row(0), row(1), row(2, 1)]);
    const [refused, sent] = one.line.take();
    expect([refused?.rows, sent?.rows]).toEqual([[2], [0, 1, 2]]);
    expect(refused?.requestId).not.toBe(sent?.requestId);
    expect((await other.store.loadInputStates(RT)).map((state) => state.attemptCount)).toEqual([0, 0, 1]);
    await apply(one.versioned, 2, [row(0), row(1), row(2, 2)]);
    expect(one.line.take().map(({ rows: numbers }) => numbers)).toEqual([[2]]);
  });

  test("travel together with a whole document when both are another client's", async () => {
    const site = new Site();
    const [one, other] = [site.client(), site.client()];
    const document = bytesOf("document");
    const turn = (store: RuntimeStoreAdapter, sequence: number, text: string, attempt: number) =>
      store.atomicApply(RT, delta(with_(document, text)), receipt(sequence), [row(0), row(1, attempt)], undefined);
    await turn(one.store, 0, "a", 0);
    await turn(other.store, 1, "b", 1);
    one.line.take();
    await turn(one.store, 2, "c", 2);
    const sent = one.line.take();
    expect(sent.map((request) => [request.document, request.rows])).toEqual([
      ["patch", [1]],
      ["whole", [0, 1]],
    ]);
  });

  test("a bad one is named by its place among all of them", async () => {
    const { versioned } = new Site().client();
    await apply(versioned, 0, rows(3));
    const bad = { ...row(2), createdAt: "yesterday" };
    const error = await failureOf(apply(versioned, 1, [row(0), row(1), bad]));
    expect(error.subject.record).toBe("input_updates[2].created_at");
  });

  test("with an id that comes twice, or in another spelling, are sent as they are", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    await apply(versioned, 0, rows(3));
    await apply(versioned, 1, [row(1, 4), row(1)]);
    const shouted = { ...row(0, 6), inputId: idOf(0).toUpperCase() };
    await apply(versioned, 2, [shouted, row(1)]);
    await apply(versioned, 3, [row(0), row(1)]);
    expect(line.sent.map(({ rows: numbers }) => numbers)).toEqual([
      [0, 1, 2],
      [1, 1],
      [0, 1],
      [0, 1],
    ]);
    expect((await site.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([0, 0, 0]);
  });

  test("all travel without a budget", async () => {
    const { line, versioned } = new Site().client({ knownInputBytes: 0 });
    for (const sequence of [0, 1]) await apply(versioned, sequence, rows(2));
    expect(line.sent.map(({ rows: numbers }) => numbers)).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });
});
