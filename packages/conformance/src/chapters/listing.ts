import assert from "node:assert/strict";
import type { RuntimeSummary, VersionedStore } from "@bolthole/contract";
import { assertEqual, assertRefused, assertSame } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, session } from "../fixtures.js";
import { DIFFICULT_IDS } from "./isolation.js";

/** Lists all runtimes page by page. */
async function listed(store: VersionedStore, pageSize: number): Promise<RuntimeSummary[]> {
  const found: RuntimeSummary[] = [];
  let pageToken = "";
  do {
    const page = await store.listRuntimes({ pageSize, pageToken });
    const count = page.runtimes.length;
    assert.ok(pageSize === 0 || count <= pageSize, `expected at most ${pageSize} runtimes in a page, found ${count}`);
    assert.ok(page.nextPageToken === "" || count > 0, "expected runtimes in a page that is not the last, found none");
    assert.ok(
      page.nextPageToken === "" || page.nextPageToken !== pageToken,
      "expected the token of another page, found that of the same page",
    );
    found.push(...page.runtimes);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

const idsOf = (found: readonly RuntimeSummary[]): string[] => found.map(({ runtimeId }) => runtimeId).sort();

/** The list of runtimes, and the facts that a store reports about itself. */
export const listingChapter = chapter(
  "listing",
  ["versions"],
  [
    testCase("an empty store lists no runtimes", async ({ store, versioned }) => {
      assertSame(await listed(versioned, 0), []);
      await store.clearSessionSnapshot(RUNTIME);
      await store.deleteOpsLifecycle(RUNTIME);
      await store.persistAuthOauthFlowSnapshot(new Uint8Array(1));
      assertSame(await listed(versioned, 0), []);
    }),

    testCase("pages of every size list each runtime once", async ({ store, versioned }) => {
      for (const id of DIFFICULT_IDS) await store.commitMachineLifecycle(id, lifecycle("idle"), [inputState(1)]);
      const all = [...DIFFICULT_IDS].sort();
      for (const pageSize of [0, 1, 2, 7, all.length - 1, all.length, all.length + 1, 1000]) {
        assertSame(idsOf(await listed(versioned, pageSize)), all);
      }
    }),

    testCase("a summary reports which records a runtime has", async ({ store, versioned }) => {
      const delta = { sessionSnapshot: session(1, 1) };
      await store.atomicApply("a", delta, receipt(1, 0n), [inputState(1), inputState(2)], undefined);
      await store.atomicApply("a", undefined, receipt(1, 1n), [inputState(2)], undefined);
      await store.persistInputState("b", inputState(1));
      await store.commitMachineLifecycle("c", lifecycle("idle"), []);
      const { version } = await versioned.persistOpsLifecycle({ runtimeId: "d", snapshot: opsSnapshot(1) });
      const nothing = {
        inputCount: 0,
        receiptCount: 0,
        hasSessionSnapshot: false,
        hasMachineLifecycle: false,
        hasOpsLifecycle: false,
        hasDamagedManifest: false,
      };
      const found = (await listed(versioned, 0)).toSorted((a, b) => (a.runtimeId < b.runtimeId ? -1 : 1));
      assertSame(
        found.map((one) => ({ ...one, version: undefined })),
        [
          { ...nothing, runtimeId: "a", inputCount: 2, receiptCount: 2, hasSessionSnapshot: true },
          { ...nothing, runtimeId: "b", inputCount: 1 },
          { ...nothing, runtimeId: "c", hasMachineLifecycle: true },
          { ...nothing, runtimeId: "d", hasOpsLifecycle: true },
        ],
      );
      assertEqual(found[3]?.version, version);
    }),

    testCase("a runtime is not listed after its last record is removed", async ({ store, versioned }) => {
      for (const id of ["a", "b"]) {
        await store.commitSessionSnapshot(id, { sessionSnapshot: session(1, 1) });
        await store.persistOpsLifecycle(id, opsSnapshot(1));
      }
      await store.clearSessionSnapshot("a");
      assertSame(idsOf(await listed(versioned, 0)), ["a", "b"]);
      await store.deleteOpsLifecycle("a");
      assertSame(idsOf(await listed(versioned, 0)), ["b"]);
      await store.persistOpsLifecycle("a", opsSnapshot(1));
      assertSame(idsOf(await listed(versioned, 0)), ["a", "b"]);
    }),

    testCase("a page size above the limit and an invalid page token are refused", async ({ versioned }) => {
      await assertRefused(versioned.listRuntimes({ pageSize: 1001, pageToken: "" }), {
        variant: "ReadFailed",
        reason: "TOO_LARGE",
      });
      await assertRefused(versioned.listRuntimes({ pageSize: 1, pageToken: "made up" }), {
        variant: "ReadFailed",
        reason: "INVALID_ARGUMENT",
        record: "page_token",
      });
    }),

    testCase(
      "the server info reports the store id, durability, limits, retention and the times of request ids",
      async ({ store, versioned, capabilities }) => {
        const info = await versioned.getServerInfo({});
        assert.match(info.storeId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
        assertEqual(info.durable, capabilities.durable);
        assert.notEqual(info.engine, "");
        for (const [name, limit] of Object.entries(info.limits) as [string, number][]) {
          assert.ok(Number.isSafeInteger(limit) && limit > 0, `expected a positive limit ${name}, found ${limit}`);
        }
        const { maxAgeSeconds, maxCount } = info.outcomeRetention;
        assert.ok(maxAgeSeconds > 0 && maxCount > 0, `expected a retention, found ${maxAgeSeconds} s and ${maxCount}`);
        const { horizonMs = NaN, storeTimeMs = NaN, latestMs = NaN } = info.requestIdTimes ?? {};
        assert.ok(
          horizonMs <= storeTimeMs && storeTimeMs <= latestMs,
          `expected a horizon, a store time and a latest time in this order, found ${horizonMs}, ${storeTimeMs}, ${latestMs}`,
        );
        assertEqual(await versioned.authAuthorityKey({}), `bolthole:${info.storeId}`);
        assertEqual(store.authAuthorityKey(), `bolthole:${info.storeId}`);
      },
    ),
  ],
);
