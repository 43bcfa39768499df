import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { RuntimeStore } from "@bolthole/contract";
import { assertEqual, assertRefused, assertSame, assertSameBytes, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, receipt, session, sessionId } from "../fixtures.js";

const MISMATCH = { variant: "WriteFailed", reason: "PROFILE_MISMATCH", record: "profile" } as const;
const BYTES = Buffer.of(0xff, 0, 0xfe);
const opaque = (sessionSnapshot: Uint8Array) => ({ sessionSnapshot, profile: "opaque" }) as const;

const commit = (store: RuntimeStore, sessionSnapshot: Uint8Array) =>
  store.commitSessionSnapshot(RUNTIME, { sessionSnapshot });

/** Snapshot profiles: session documents that are validated, and opaque bytes that are not. */
export const profilesChapter = chapter(
  "profiles",
  [],
  [
    testCase("opaque bytes are loaded unchanged, and stay opaque when no profile is named", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
      for (const bytes of [Buffer.alloc(0), Buffer.from("text"), session(1, 1), Buffer.from("{")]) {
        await commit(store, bytes);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), bytes);
      }
      await store.atomicApply(RUNTIME, { sessionSnapshot: BYTES }, receipt(1, 0n), [], undefined);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
    }),

    testCase("an apply may store the first opaque snapshot", async ({ store }) => {
      await store.atomicApply(RUNTIME, opaque(BYTES), receipt(1, 0n), [], undefined);
      await store.atomicApply(RUNTIME, opaque(Buffer.from("1")), receipt(1, 1n), [], undefined);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), Buffer.from("1"));
    }),

    testCase("a compare-and-set works on opaque bytes", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      assertEqual(await store.replaceSessionSnapshotIfCurrent(RUNTIME, Buffer.of(0xff, 0), Buffer.from("x")), false);
      assertEqual(await store.replaceSessionSnapshotIfCurrent(RUNTIME, BYTES, Buffer.from("x")), true);
      assertEqual(await store.clearSessionSnapshotIfCurrent(RUNTIME, Buffer.from("x")), true);
    }),

    testCase("a profile that differs from the stored one is refused", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(session(1, 1)));
      const call = store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1), profile: "session" });
      await assertRefused(call, { ...MISMATCH, expected: "opaque", actual: "session" });
      await store.commitSessionSnapshot("other", { sessionSnapshot: session(1, 1) });
      const before = await contentsOf(store, "other");
      await assertRefused(store.commitSessionSnapshot("other", opaque(BYTES)), { ...MISMATCH, actual: "opaque" });
      await assertRefused(store.atomicApply("other", opaque(BYTES), receipt(1, 0n), [], undefined), MISMATCH);
      assertSame(await contentsOf(store, "other"), before);
    }),

    testCase("a clear removes the profile", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      await store.clearSessionSnapshot(RUNTIME);
      await assertRefused(commit(store, BYTES), { variant: "WriteFailed", reason: "INVALID_ARGUMENT" });
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1), profile: "session" });
      await store.clearSessionSnapshot(RUNTIME);
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
    }),

    testCase("a session key and a rewrite are refused for an opaque snapshot", async ({ store }) => {
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
      await assertRefused(apply(), MISMATCH);
      await assertRefused(commitRewrite(), MISMATCH);
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.commitSessionSnapshot(RUNTIME, opaque(BYTES));
      await assertRefused(apply(), MISMATCH);
      await assertRefused(commitRewrite(), MISMATCH);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
    }),

    testCase("a loaded snapshot has the profile with which it was stored", ["versions"], async ({ versioned }) => {
      const load = async () => {
        const loaded = await versioned.loadSessionSnapshot({ runtimeId: RUNTIME });
        for await (const chunk of loaded?.chunks ?? [])
          assert.ok(chunk.length <= 1 << 20, `expected at most 1 MiB, found ${chunk.length} bytes`);
        return loaded?.profile;
      };
      await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: opaque(BYTES) });
      assertEqual(await load(), "opaque");
      await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
      await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(1, 1) } });
      assertEqual(await load(), "session");
    }),
  ],
);
