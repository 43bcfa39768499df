import { StoreError, type VersionedStore } from "@bolthole/contract";
import { type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { MemoryStorage } from "../testing/memory-storage.js";
import { requestIdAt } from "../testing/request-ids.js";
import { SimulatedClock } from "../testing/simulated-clock.js";
import type { HorizonMove } from "./pruning.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;
/** How far ahead an id may be. */
const LEAD_MS = 5 * MINUTE_MS;

/** The limits of the case that a review found, divided by 250. */
const MAX_COUNT = 1000;
const MAX_SEALED = 100;
const FLOOD = 1002;

const persist = (store: VersionedStore, id: string) =>
  store.persistAuthOauthFlowSnapshot({ requestId: id, snapshot: Buffer.from(id) });

const reasonOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "none",
    (error: unknown) => (error instanceof StoreError ? error.reason : String(error)),
  );

/** Seals ids that were never used. */
async function flood(store: VersionedStore, timeMs: number): Promise<string[]> {
  const ids = Array.from({ length: FLOOD }, (_, serial) => requestIdAt(timeMs, 0x1000 + serial));
  for (const requestId of ids) await store.getCommit({ requestId, seal: true });
  return ids;
}

/** Lets time pass while the store deletes old outcomes, as the daemon does. */
async function passed(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= MINUTE_MS) {
    clock.pass(Math.min(left, MINUTE_MS));
    await store.prune();
  }
}

let clock: SimulatedClock;
let store: EngineStore;
let moves: HorizonMove[];
const openStore = (): EngineStore =>
  createEngineStore(new MemoryEngine(), {
    clock,
    outcomeRetention: { maxCount: MAX_COUNT, maxAgeSeconds: DAY_MS / 1000 },
    onHorizonMoved: (move) => {
      moves.push(move);
    },
  });
beforeEach(() => {
  clock = new SimulatedClock();
  moves = [];
  store = openStore();
});

test("an id that is 59 minutes ahead is neither executed nor sealed", async () => {
  const requestId = requestIdAt(clock.now() + 59 * MINUTE_MS);
  expect(await reasonOf(store.getCommit({ requestId, seal: true }))).toBe("INVALID_ARGUMENT");
  expect(await reasonOf(persist(store, requestId))).toBe("INVALID_ARGUMENT");
  expect(await store.keptOutcomes()).toBe(0);
});

test.each([-MINUTE_MS, 0, LEAD_MS])(
  "a flood of seals (%d ms ahead) displaces no outcome of a request, and refuses no caller with a correct clock",
  async (leadMs) => {
    const honest = Array.from({ length: 50 }, (_, serial) => requestIdAt(clock.now() - serial, serial));
    for (const id of honest) await persist(store, id);
    const sealed = await flood(store, clock.now() + leadMs);
    let serial = 0x9000;
    for (let minute = 0; minute < 70; minute += 1) {
      await passed(MINUTE_MS);
      const { requestIdTimes } = await store.getServerInfo({});
      expect(requestIdTimes?.horizonMs).toBeLessThanOrEqual(clock.now() - LEAD_MS);
      expect(await persist(store, requestIdAt(clock.now(), (serial += 1)))).toMatchObject({ replayed: false });
    }
    for (const id of honest) expect(await persist(store, id)).toMatchObject({ replayed: true });
    for (const id of sealed) expect(await reasonOf(persist(store, id))).toMatch(/^REQUEST_ID_(EXPIRED|SEALED)$/);
    expect(await store.keptOutcomes()).toBeLessThanOrEqual(50 + 70 + MAX_SEALED);
    expect(moves).toMatchObject([{ cause: "retention", aged: 0, displaced: 0 }]);
    expect(moves[0]?.displacedSeals).toBeGreaterThanOrEqual(FLOOD - MAX_SEALED);
  },
);

test("a flood is counted after a restart too", async () => {
  const storage = new MemoryStorage();
  const options = { clock, outcomeRetention: { maxCount: MAX_COUNT, maxAgeSeconds: DAY_MS / 1000 } };
  store = createEngineStore(await storage.open(), options);
  const honest = requestIdAt(clock.now());
  await persist(store, honest);
  await flood(store, clock.now());
  store = createEngineStore(await storage.open(), options);
  await passed(10 * MINUTE_MS);
  expect(await store.keptOutcomes()).toBeLessThanOrEqual(MAX_SEALED + 1);
  expect(await persist(store, honest)).toMatchObject({ replayed: true });
});

test("outcomes of requests do not displace sealed ids", async () => {
  const requestId = requestIdAt(clock.now());
  await store.getCommit({ requestId, seal: true });
  clock.pass(1);
  for (let serial = 0; serial < MAX_COUNT + 10; serial += 1) await persist(store, requestIdAt(clock.now(), serial));
  await passed(10 * MINUTE_MS);
  expect(await store.keptOutcomes()).toBeLessThanOrEqual(MAX_COUNT + 1);
  expect(await reasonOf(persist(store, requestId))).toMatch(/^REQUEST_ID_(EXPIRED|SEALED)$/);
  expect(moves).toMatchObject([{ displaced: 10, displacedSeals: 0 }]);
});

test("an operator who sets the horizon ends what a clock of the past was ahead", async () => {
  const storage = new MemoryStorage();
  store = createEngineStore(await storage.open(), { clock });
  clock.jump(20 * HOUR_MS);
  await persist(store, requestIdAt(clock.now()));
  clock.jump(-20 * HOUR_MS);
  await persist(store, requestIdAt(clock.now(), 1));
  const latest = async () => (await store.getServerInfo({})).requestIdTimes?.latestMs;
  // The ids that living callers made under the clock that was ahead are accepted.
  expect(await latest()).toBe(clock.now() + 20 * HOUR_MS + LEAD_MS);
  const times = await store.setHorizon({ horizonMs: clock.now() });
  expect(times).toEqual({ horizonMs: clock.now(), storeTimeMs: clock.now(), latestMs: clock.now() + LEAD_MS });
  expect(await store.clockState()).toEqual({
    nowMs: clock.now(),
    horizonMs: clock.now(),
    lastCommitMs: clock.now(),
  });
  // A restore of a later backup refuses callers without the rule for an hour, and not for 21.
  await storage.backUp();
  expect(await storage.restore(clock.now())).toBe(clock.now() + HOUR_MS + 1);
});

test("a clock that was a year ahead is forgotten", async () => {
  clock.jump(YEAR_MS);
  await persist(store, requestIdAt(clock.now()));
  clock.jump(-YEAR_MS);
  const requestId = requestIdAt(clock.now() + 59 * MINUTE_MS);
  expect(await reasonOf(store.getCommit({ requestId, seal: true }))).toBe("INVALID_ARGUMENT");
  await persist(store, requestIdAt(clock.now(), 1));
  expect(await store.clockState()).toMatchObject({ lastCommitMs: clock.now() });
});

test("a change by an operator is reported", async () => {
  const fromMs = clock.now() - HOUR_MS;
  await store.setHorizon({ horizonMs: fromMs });
  await store.setHorizon({ horizonMs: clock.now() });
  expect(moves[1]).toEqual({ fromMs, toMs: clock.now(), cause: "operator", aged: 0, displaced: 0, displacedSeals: 0 });
});
