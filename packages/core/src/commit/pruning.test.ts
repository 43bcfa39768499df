import { StoreError, type VersionedStore } from "@bolthole/contract";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { requestIdAt } from "../testing/request-ids.js";
import { SimulatedClock } from "../testing/simulated-clock.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const persist = (store: VersionedStore, id: string) =>
  store.persistAuthOauthFlowSnapshot({ requestId: id, snapshot: Buffer.from(id) });

const reasonOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "none",
    (error: unknown) => (error instanceof StoreError ? error.reason : String(error)),
  );

const keeping = (maxCount: number) => ({ maxCount, maxAgeSeconds: DAY_MS / 1000 });

test("the newest outcomes are kept, and an id whose outcome was deleted can never be applied again", async () => {
  const clock = new SimulatedClock();
  const store = createEngineStore(new MemoryEngine(), { outcomeRetention: keeping(10), clock });
  const ids: string[] = [];
  for (let serial = 0; serial < 40; serial += 1) {
    clock.pass(1);
    ids.push(requestIdAt(clock.now(), serial));
    await persist(store, ids[serial] ?? "");
  }
  clock.pass(2 * MINUTE_MS);
  expect(await store.keptOutcomes()).toBe(40);
  await store.prune();
  expect(await store.keptOutcomes()).toBe(10);

  const [deleted = "", kept = ""] = [ids[29], ids[30]];
  expect(await persist(store, ids[39] ?? "")).toMatchObject({ replayed: true });
  expect(await persist(store, kept)).toMatchObject({ replayed: true });
  expect(await reasonOf(persist(store, deleted))).toBe("REQUEST_ID_EXPIRED");
  expect(await store.getCommit({ requestId: deleted, seal: false })).toEqual({ state: "expired" });
  expect(await store.getCommit({ requestId: deleted, seal: true })).toEqual({ state: "expired" });
});

test("an outcome of the last minute is kept, however many there are", async () => {
  const clock = new SimulatedClock();
  const store = createEngineStore(new MemoryEngine(), { outcomeRetention: keeping(1), clock });
  const ids = Array.from({ length: 200 }, (_, serial) => requestIdAt(clock.now() + serial, serial));
  for (const id of ids) await persist(store, id);
  clock.pass(MINUTE_MS);
  await store.prune();
  for (const id of ids) expect(await persist(store, id)).toMatchObject({ replayed: true });
  clock.pass(MINUTE_MS);
  await store.prune();
  expect(await store.keptOutcomes()).toBe(1);
});

test("outcomes beyond the greatest age are deleted, however few there are", async () => {
  const clock = new SimulatedClock();
  const store = createEngineStore(new MemoryEngine(), { clock });
  const old = requestIdAt(clock.now());
  await persist(store, old);
  clock.pass(DAY_MS + 1);
  const young = requestIdAt(clock.now());
  await persist(store, young);
  expect(await persist(store, old)).toMatchObject({ replayed: true });
  await store.prune();
  expect(await store.keptOutcomes()).toBe(1);
  expect(await reasonOf(persist(store, old))).toBe("REQUEST_ID_EXPIRED");
  expect(await persist(store, young)).toMatchObject({ replayed: true });
});

test("more outcomes than one commit deletes are deleted in several commits", async () => {
  const clock = new SimulatedClock();
  const store = createEngineStore(new MemoryEngine(), { outcomeRetention: keeping(1), clock });
  for (let serial = 0; serial < 2500; serial += 1) await persist(store, requestIdAt(clock.now(), serial));
  clock.pass(2 * MINUTE_MS);
  await store.prune();
  expect(await store.keptOutcomes()).toBe(1);
});

test("outcomes of a caller whose clock is ahead do not move the horizon above the ids of other callers", async () => {
  const clock = new SimulatedClock();
  const store = createEngineStore(new MemoryEngine(), { outcomeRetention: keeping(10), clock });
  const honest = Array.from({ length: 10 }, (_, serial) => requestIdAt(clock.now(), serial));
  for (const id of honest) await persist(store, id);
  for (let serial = 0; serial < 300; serial += 1)
    await persist(store, requestIdAt(clock.now() + 4 * MINUTE_MS, serial));
  clock.pass(2 * MINUTE_MS);
  await store.prune();
  for (const id of honest) expect(await persist(store, id)).toMatchObject({ replayed: true });
  expect(await persist(store, requestIdAt(clock.now(), 999))).toMatchObject({ replayed: false });
  clock.pass(HOUR_MS);
  await store.prune();
  expect(await store.keptOutcomes()).toBe(10);
});

test("a clock that is a year ahead for some minutes deletes no outcome", async () => {
  const clock = new SimulatedClock();
  const store = createEngineStore(new MemoryEngine(), { outcomeRetention: keeping(5), clock });
  const before = Array.from({ length: 5 }, (_, serial) => requestIdAt(clock.now(), serial));
  for (const id of before) await persist(store, id);
  clock.jump(365 * DAY_MS);
  for (let serial = 0; serial < 50; serial += 1) await persist(store, requestIdAt(clock.now(), serial));
  for (let minute = 0; minute < 50; minute += 1) {
    clock.pass(MINUTE_MS);
    await store.prune();
  }
  clock.jump(-365 * DAY_MS);
  for (const id of before) expect(await persist(store, id)).toMatchObject({ replayed: true });
  expect(await persist(store, requestIdAt(clock.now(), 999))).toMatchObject({ replayed: false });
});

test("a clock that stays ahead for an hour is believed", async () => {
  const clock = new SimulatedClock();
  const store = createEngineStore(new MemoryEngine(), { clock });
  await persist(store, requestIdAt(clock.now()));
  clock.jump(3 * DAY_MS);
  for (let minute = 0; minute < 59; minute += 1) {
    await store.prune();
    clock.pass(MINUTE_MS);
  }
  expect(await store.keptOutcomes()).toBe(1);
  clock.pass(2 * MINUTE_MS);
  await store.prune();
  expect(await store.keptOutcomes()).toBe(0);
});

test("a daemon that runs for short times only still deletes outcomes", async () => {
  const clock = new SimulatedClock();
  const engine = new MemoryEngine();
  for (let run = 0; run < 100; run += 1) {
    const store = createEngineStore(engine, { clock });
    await persist(store, requestIdAt(clock.now(), run));
    await store.prune();
    clock.pass(MINUTE_MS);
    clock.jump(DAY_MS / 2);
  }
  expect(await createEngineStore(engine, { clock }).keptOutcomes()).toBeLessThan(6);
});
