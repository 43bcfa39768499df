import assert from "node:assert/strict";
import type { RuntimeSummary, VersionedStore } from "@bolthole/contract";
import { refused, same } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, session } from "../fixtures.js";
import { HOSTILE_IDS } from "./isolation.js";

async function listed(store: VersionedStore, pageSize: number): Promise<RuntimeSummary[]> {
  const found: RuntimeSummary[] = [];
  let pageToken = "";
  do {
    const page = await store.listRuntimes({ pageSize, pageToken });
    assert.ok(pageSize === 0 || page.runtimes.length <= pageSize);
    assert.ok(page.nextPageToken === "" || page.runtimes.length > 0, "a page without runtimes names a next one");
    assert.ok(page.nextPageToken === "" || page.nextPageToken !== pageToken, "a page names itself as the next one");
    found.push(...page.runtimes);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

const idsOf = (found: readonly RuntimeSummary[]): string[] => found.map(({ runtimeId }) => runtimeId).sort();

export const listingChapter = chapter(
  "listing",
  ["versions"],
  [
    step("an empty store lists nothing", async ({ store, versioned }) => {
      same(await listed(versioned, 0), []);
      await store.clearSessionSnapshot(RUNTIME);
      await store.deleteOpsLifecycle(RUNTIME);
      await store.persistAuthOauthFlowSnapshot(new Uint8Array(1));
      same(await listed(versioned, 0), []);
    }),

    step("pages of every size list each runtime once", async ({ store, versioned }) => {
      for (const id of HOSTILE_IDS) await store.commitMachineLifecycle(id, lifecycle("idle"), [inputState(1)]);
      const all = [...HOSTILE_IDS].sort();
      for (const pageSize of [0, 1, 2, 7, all.length - 1, all.length, all.length + 1, 1000]) {
        same(idsOf(await listed(versioned, pageSize)), all);
      }
    }),

    step("a summary says what is stored", async ({ store, versioned }) => {
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
      };
      const found = (await listed(versioned, 0)).toSorted((a, b) => (a.runtimeId < b.runtimeId ? -1 : 1));
      same(
        found.map((one) => ({ ...one, version: undefined })),
        [
          { ...nothing, runtimeId: "a", inputCount: 2, receiptCount: 2, hasSessionSnapshot: true },
          { ...nothing, runtimeId: "b", inputCount: 1 },
          { ...nothing, runtimeId: "c", hasMachineLifecycle: true },
          { ...nothing, runtimeId: "d", hasOpsLifecycle: true },
        ],
      );
      assert.equal(found[3]?.version, version);
    }),

    step("a runtime of which nothing is left is not listed", async ({ store, versioned }) => {
      for (const id of ["a", "b"]) {
        await store.commitSessionSnapshot(id, { sessionSnapshot: session(1, 1) });
        await store.persistOpsLifecycle(id, opsSnapshot(1));
      }
      await store.clearSessionSnapshot("a");
      same(idsOf(await listed(versioned, 0)), ["a", "b"]);
      await store.deleteOpsLifecycle("a");
      same(idsOf(await listed(versioned, 0)), ["b"]);
      await store.persistOpsLifecycle("a", opsSnapshot(1));
      same(idsOf(await listed(versioned, 0)), ["a", "b"]);
    }),

    step("a page beyond the largest size, and a made-up token, are refused", async ({ versioned }) => {
      await refused(versioned.listRuntimes({ pageSize: 1001, pageToken: "" }), {
        variant: "ReadFailed",
        reason: "TOO_LARGE",
      });
      await refused(versioned.listRuntimes({ pageSize: 1, pageToken: "made up" }), {
        variant: "ReadFailed",
        reason: "INVALID_ARGUMENT",
        record: "page_token",
      });
    }),

    step("the store says who it is, what it promises, and its limits", async ({ store, versioned, capabilities }) => {
      const info = await versioned.getServerInfo({});
      assert.match(info.storeId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.equal(info.durable, capabilities.durable);
      assert.ok(info.engine.length > 0);
      assert.ok(Object.values(info.limits).every((limit: number) => Number.isSafeInteger(limit) && limit > 0));
      assert.ok(info.outcomeRetention.maxAgeSeconds > 0 && info.outcomeRetention.maxCount > 0);
      assert.equal(await versioned.authAuthorityKey({}), `bolthole:${info.storeId}`);
      assert.equal(store.authAuthorityKey(), `bolthole:${info.storeId}`);
    }),
  ],
);
