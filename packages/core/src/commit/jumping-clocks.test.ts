import { StoreError, type VersionedStore } from "@bolthole/contract";
import { type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { MemoryStorage } from "../testing/memory-storage.js";
import { requestIdAt } from "../testing/request-ids.js";
import { SimulatedClock } from "../testing/simulated-clock.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;

const persist = (store: VersionedStore, requestId: string) =>
  store.persistAuthOauthFlowSnapshot({ requestId, snapshot: Buffer.from(requestId) });

async function refusalOf(call: Promise<unknown>): Promise<StoreError> {
  const error = await call.then(
    () => new Error("expected a refusal, but the request was executed"),
    (failure: unknown) => failure,
  );
  if (!(error instanceof StoreError)) throw error as Error;
  return error;
}

/** Lets time pass while the store deletes old outcomes, as the daemon does. */
async function passed(clock: SimulatedClock, store: EngineStore, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10 * MINUTE_MS) {
    clock.pass(Math.min(left, 10 * MINUTE_MS));
    await store.prune();
  }
}

let clock: SimulatedClock;
let store: EngineStore;
beforeEach(() => {
  clock = new SimulatedClock();
  store = createEngineStore(new MemoryEngine(), { clock });
});

test("an id that has expired is expired after the clock was set back too", async () => {
  const old = requestIdAt(clock.now() - HOUR_MS);
  await persist(store, requestIdAt(clock.now()));
  await passed(clock, store, 25 * HOUR_MS);
  expect(await refusalOf(persist(store, old))).toMatchObject({ reason: "REQUEST_ID_EXPIRED" });
  clock.jump(-25 * HOUR_MS);
  expect(await refusalOf(persist(store, old))).toMatchObject({ reason: "REQUEST_ID_EXPIRED" });
  expect(await store.getCommit({ requestId: old, seal: false })).toEqual({ state: "expired" });
});

test("a status of expired is final, and an id that is not expired may still be executed", async () => {
  // Nothing has been deleted, so it is certain that this id was never executed.
  const old = requestIdAt(clock.now() - 48 * HOUR_MS);
  expect(await store.getCommit({ requestId: old, seal: false })).toEqual({ state: "not_found" });
  expect(await persist(store, old)).toMatchObject({ replayed: false });
  clock.jump(-48 * HOUR_MS);
  expect(await persist(store, old)).toMatchObject({ replayed: true });
});

test("a request of a client whose clock is minutes ahead is not executed again after a restore", async () => {
  const storage = new MemoryStorage();
  store = createEngineStore(await storage.open(), { clock });
  const early = requestIdAt(clock.now() + 2 * MINUTE_MS, 1);
  const sealed = requestIdAt(clock.now() + 3 * MINUTE_MS, 2);
  const lost = requestIdAt(clock.now() + 4 * MINUTE_MS, 3);
  await persist(store, early);
  await storage.backUp();
  await store.getCommit({ requestId: sealed, seal: true });
  await persist(store, lost);
  await storage.restore(clock.now());
  store = createEngineStore(await storage.open(), { clock });
  for (const id of [early, sealed, lost]) {
    expect(await refusalOf(persist(store, id))).toMatchObject({ reason: "REQUEST_ID_EXPIRED" });
  }
});

test("the outcome of a request whose id is a year ahead is kept by a restore", async () => {
  const storage = new MemoryStorage();
  clock.jump(YEAR_MS);
  store = createEngineStore(await storage.open(), { clock });
  const id = requestIdAt(clock.now());
  await persist(store, id);
  await storage.backUp();
  clock.jump(-YEAR_MS);
  await storage.restore(clock.now());
  store = createEngineStore(await storage.open(), { clock });
  expect(await persist(store, id)).toMatchObject({ replayed: true });
});

test("writes are accepted after a restore under a clock that was two days ahead", async () => {
  const storage = new MemoryStorage();
  store = createEngineStore(await storage.open(), { clock });
  await persist(store, requestIdAt(clock.now()));
  await storage.backUp();
  await storage.restore(clock.now() + 2 * DAY_MS);
  store = createEngineStore(await storage.open(), { clock });
  const refused = await refusalOf(persist(store, requestIdAt(clock.now(), 1)));
  const { horizonMs = 0, storeTimeMs = 0 } = refused.subject.requestIdTimes ?? {};
  expect(horizonMs).toBeGreaterThan(clock.now() + 2 * DAY_MS);
  expect(await persist(store, requestIdAt(horizonMs, 2))).toMatchObject({ replayed: false });
  expect(await persist(store, requestIdAt(storeTimeMs, 3))).toMatchObject({ replayed: false });
  // Or an operator, who knows that no request after the backup can arrive, sets the horizon.
  await store.setHorizon({ horizonMs: clock.now() });
  expect(await persist(store, requestIdAt(clock.now(), 4))).toMatchObject({ replayed: false });
});

test("outcomes are deleted while the clock is below the horizon, and the clock catches up", async () => {
  const storage = new MemoryStorage();
  await storage.restore(clock.now() + 2 * DAY_MS);
  store = createEngineStore(await storage.open(), {
    clock,
    outcomeRetention: { maxCount: 20, maxAgeSeconds: DAY_MS / 1000 },
  });
  for (let serial = 0; serial < 200; serial += 1) {
    const { requestIdTimes } = await store.getServerInfo({});
    await persist(store, requestIdAt(requestIdTimes?.storeTimeMs ?? 0, serial));
    await passed(clock, store, 20 * MINUTE_MS);
  }
  expect(await store.keptOutcomes()).toBeLessThan(30);
  await passed(clock, store, 3 * DAY_MS);
  expect(await persist(store, requestIdAt(clock.now(), 999))).toMatchObject({ replayed: false });
});

test.each([2, 60])("after a clock was a year ahead for %d hours, new requests are accepted", async (hours) => {
  clock.jump(YEAR_MS);
  for (let serial = 0; serial < hours; serial += 1) {
    await persist(store, requestIdAt(clock.now(), serial));
    await passed(clock, store, HOUR_MS);
  }
  clock.jump(-YEAR_MS);
  const { requestIdTimes } = await store.getServerInfo({});
  const timeMs = Math.max(clock.now(), requestIdTimes?.horizonMs ?? 0);
  expect(await persist(store, requestIdAt(timeMs, 999))).toMatchObject({ replayed: false });
});

test("the ids of a living client, which do not go back, are accepted after the clock was corrected", async () => {
  await persist(store, requestIdAt(clock.now(), 1));
  clock.jump(-2 * HOUR_MS);
  expect(await persist(store, requestIdAt(clock.now() + 2 * HOUR_MS, 2))).toMatchObject({ replayed: false });
});

test("a repeated request gets its response although its id is ahead of a corrected clock", async () => {
  const id = requestIdAt(clock.now());
  await persist(store, id);
  clock.jump(-YEAR_MS);
  expect(await persist(store, id)).toMatchObject({ replayed: true });
  expect(await store.getCommit({ requestId: id, seal: true })).toMatchObject({ state: "applied" });
  const other = await refusalOf(persist(store, requestIdAt(clock.now() + YEAR_MS, 2)));
  expect(other).toMatchObject({ reason: "INVALID_ARGUMENT", subject: { record: "request_id" } });
  expect(other.subject.requestIdTimes?.storeTimeMs).toBe(clock.now());
});

test("the horizon and the latest time stay after a restart", async () => {
  const engine = new MemoryEngine();
  store = createEngineStore(engine, { clock });
  await persist(store, requestIdAt(clock.now()));
  await store.setHorizon({ horizonMs: clock.now() - HOUR_MS });
  clock.jump(-2 * HOUR_MS);
  store = createEngineStore(engine, { clock });
  expect(await persist(store, requestIdAt(clock.now() + 2 * HOUR_MS, 2))).toMatchObject({ replayed: false });
  expect(await refusalOf(persist(store, requestIdAt(clock.now(), 3)))).toMatchObject({ reason: "REQUEST_ID_EXPIRED" });
});
