import { StoreError, type VersionedStore } from "@bolthole/contract";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const START_MS = Date.UTC(2026, 0, 1);

/** Returns a UUIDv7 with this time. `serial` distinguishes the ids of one time. */
function requestId(timeMs: number, serial = 0): string {
  const time = timeMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${serial.toString(16).padStart(12, "0")}`;
}

const persist = (store: VersionedStore, id: string) =>
  store.persistAuthOauthFlowSnapshot({ requestId: id, snapshot: Buffer.from(id) });

const reasonOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "none",
    (error: unknown) => (error instanceof StoreError ? error.reason : String(error)),
  );

test("the newest outcomes are kept, and an id whose outcome was deleted can never be applied again", async () => {
  let nowMs = START_MS;
  const store = createEngineStore(new MemoryEngine(), {
    outcomeRetention: { maxCount: 10, maxAgeSeconds: DAY_MS / 1000 },
    now: () => nowMs,
  });
  for (let serial = 0; serial < 40; serial += 1) {
    nowMs += 1;
    await persist(store, requestId(nowMs, serial));
  }
  expect(await store.keptOutcomes()).toBe(40);
  await store.prune();
  expect(await store.keptOutcomes()).toBe(10);

  expect(await persist(store, requestId(START_MS + 40, 39))).toMatchObject({ replayed: true });
  expect(await persist(store, requestId(START_MS + 31, 30))).toMatchObject({ replayed: true });
  expect(await reasonOf(persist(store, requestId(START_MS + 30, 29)))).toBe("REQUEST_ID_EXPIRED");
  expect(await store.getCommit({ requestId: requestId(START_MS + 30, 29), seal: false })).toEqual({ state: "expired" });
  expect(await store.getCommit({ requestId: requestId(START_MS + 30, 29), seal: true })).toEqual({ state: "expired" });
});

test("outcomes beyond the greatest age are deleted, however few there are", async () => {
  let nowMs = START_MS;
  const store = createEngineStore(new MemoryEngine(), { now: () => nowMs });
  const old = requestId(nowMs);
  await persist(store, old);
  nowMs += DAY_MS + 1;
  const young = requestId(nowMs);
  await persist(store, young);
  expect(await persist(store, old)).toMatchObject({ replayed: true });
  await store.prune();
  expect(await store.keptOutcomes()).toBe(1);
  expect(await reasonOf(persist(store, old))).toBe("REQUEST_ID_EXPIRED");
  expect(await persist(store, young)).toMatchObject({ replayed: true });
});

test("more outcomes than one commit deletes are deleted in several commits", async () => {
  const store = createEngineStore(new MemoryEngine(), {
    outcomeRetention: { maxCount: 1, maxAgeSeconds: DAY_MS / 1000 },
    now: () => START_MS,
  });
  for (let serial = 0; serial < 2500; serial += 1) await persist(store, requestId(START_MS, serial));
  await store.prune();
  expect(await store.keptOutcomes()).toBe(1);
});
