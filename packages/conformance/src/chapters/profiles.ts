import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { RuntimeStore } from "@bolthole/contract";
import { contents, refused, same, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, receipt, session, sessionId } from "../fixtures.js";

const MISMATCH = { variant: "WriteFailed", reason: "PROFILE_MISMATCH", record: "profile" } as const;
const BYTES = Buffer.of(0xff, 0, 0xfe);
const opaque = (sessionSnapshot: Uint8Array) => ({ sessionSnapshot, profile: "opaque" }) as const;

const commit = (store: RuntimeStore, sessionSnapshot: Uint8Array) =>
  store.commitSessionSnapshot(RUNTIME, { sessionSnapshot });

export const profilesChapter = chapter(
  "profiles",
  [],
  [
    step("opaque bytes come back as they were, and stay opaque when no profile is named", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      sameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
      for (const bytes of [Buffer.alloc(0), Buffer.from("text"), session(1, 1), Buffer.from("{")]) {
        await commit(store, bytes);
        sameBytes(await store.loadSessionSnapshot(RUNTIME), bytes);
      }
      await store.atomicApply(RUNTIME, { sessionSnapshot: BYTES }, receipt(1, 0n), [], undefined);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
    }),

    step("an apply may begin an opaque snapshot", async ({ store }) => {
      await store.atomicApply(RUNTIME, opaque(BYTES), receipt(1, 0n), [], undefined);
      await store.atomicApply(RUNTIME, opaque(Buffer.from("1")), receipt(1, 1n), [], undefined);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), Buffer.from("1"));
    }),

    step("compare-and-set works on opaque bytes", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      assert.equal(await store.replaceSessionSnapshotIfCurrent(RUNTIME, Buffer.of(0xff, 0), Buffer.from("x")), false);
      assert.equal(await store.replaceSessionSnapshotIfCurrent(RUNTIME, BYTES, Buffer.from("x")), true);
      assert.equal(await store.clearSessionSnapshotIfCurrent(RUNTIME, Buffer.from("x")), true);
    }),

    step("another profile than the stored one is refused", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(session(1, 1)));
      const call = store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1), profile: "session" });
      await refused(call, { ...MISMATCH, expected: "opaque", actual: "session" });
      await store.commitSessionSnapshot("other", { sessionSnapshot: session(1, 1) });
      const before = await contents(store, "other");
      await refused(store.commitSessionSnapshot("other", opaque(BYTES)), { ...MISMATCH, actual: "opaque" });
      await refused(store.atomicApply("other", opaque(BYTES), receipt(1, 0n), [], undefined), MISMATCH);
      same(await contents(store, "other"), before);
    }),

    step("a clear forgets the profile", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      await store.clearSessionSnapshot(RUNTIME);
      await refused(commit(store, BYTES), { variant: "WriteFailed", reason: "INVALID_ARGUMENT" });
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1), profile: "session" });
      await store.clearSessionSnapshot(RUNTIME);
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
    }),

    step("a session key and a rewrite are refused on an opaque snapshot", async ({ store }) => {
      const rewrite = {
        parentRevision: "a",
        revision: "b",
        selection: { kind: "message_range", start: 0n, end: 1n },
        originalSpanDigest: "",
        replacementDigest: "",
        messagesBefore: 1n,
        messagesAfter: 1n,
        reason: { kind: "compaction" },
        committedAt: { seconds: 0n, nanos: 0 },
      } as const;
      const apply = () => store.atomicApply(RUNTIME, opaque(session(1, 1)), receipt(1, 0n), [], sessionId(1));
      const commitRewrite = () => store.commitSessionTranscriptRewriteSnapshot(RUNTIME, opaque(session(1, 1)), rewrite);
      await refused(apply(), MISMATCH);
      await refused(commitRewrite(), MISMATCH);
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      await refused(apply(), MISMATCH);
      await refused(commitRewrite(), MISMATCH);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
    }),

    step("the profile comes with the loaded snapshot", ["versions"], async ({ versioned }) => {
      const load = async () => {
        const loaded = await versioned.loadSessionSnapshot({ runtimeId: RUNTIME });
        for await (const chunk of loaded?.chunks ?? []) assert.ok(chunk.length <= 1 << 20);
        return loaded?.profile;
      };
      await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: opaque(BYTES) });
      assert.equal(await load(), "opaque");
      await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
      await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(1, 1) } });
      assert.equal(await load(), "session");
    }),
  ],
);
