import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { DocumentPart, SessionChange, VersionedStore } from "@bolthole/contract";
import { assertEqual, assertRefused, assertSame, assertSameBytes, refusalOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  appended,
  freshRequestId,
  inputState,
  patchOf,
  patchTo,
  receipt,
  rewrite,
  someTexts,
  transcript,
} from "../fixtures.js";

const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;
const STALE = { variant: "WriteFailed", reason: "BASE_NOT_CURRENT", record: "patch.base_version" } as const;

const TEXTS = someTexts(40);
const BASE = transcript(TEXTS);
const NEXT = transcript([...TEXTS, "one more"]);
/** Bytes in which equal ranges at different offsets differ. */
const BYTES = Buffer.from(Array.from({ length: 4000 }, (_, n) => (n * n * 31 + n * 7) % 256));

const runtime = { runtimeId: RUNTIME } as const;
const whole = (sessionSnapshot: Uint8Array, profile?: "opaque"): SessionChange => ({ sessionSnapshot, profile });

/** The methods that write a snapshot, except the rewrite, which has a separate case below. */
const WRITERS: Readonly<
  Record<
    "commitSessionSnapshot" | "atomicApply" | "replaceSessionSnapshotIfCurrent",
    (store: VersionedStore, change: SessionChange, base: string, requestId?: string) => Promise<unknown>
  >
> = {
  commitSessionSnapshot: (store, sessionDelta, _, requestId) =>
    store.commitSessionSnapshot({ ...runtime, sessionDelta, requestId }),
  atomicApply: (store, sessionDelta, _, requestId) =>
    store.atomicApply({
      ...runtime,
      sessionDelta,
      receipt: receipt(1, 0n),
      inputUpdates: [inputState(1)],
      sessionStoreKey: undefined,
      requestId,
    }),
  replaceSessionSnapshotIfCurrent: (store, replacement, version, requestId) =>
    store.replaceSessionSnapshotIfCurrent({ ...runtime, expected: { version }, replacement, requestId }),
};

/** Commits a first document, and returns its version. */
async function begin(store: VersionedStore, document = BASE, profile?: "opaque"): Promise<string> {
  return (await store.commitSessionSnapshot({ ...runtime, sessionDelta: whole(document, profile) })).version;
}

/** Patches: a document that is sent as ranges of the stored document and new bytes. */
export const patchesChapter = chapter(
  "patches",
  ["versions"],
  [
    testCase("a patch produces the document of its parts, byte for byte", async ({ store, versioned }) => {
      const shapes: readonly (readonly DocumentPart[])[] = [
        [],
        [{ offset: 0, length: BYTES.length }],
        [{ offset: 3999, length: 1 }],
        [Buffer.from("only new")],
        [Buffer.from("new"), { offset: 0, length: 4000 }, Buffer.from("new")],
        [
          { offset: 2000, length: 2000 },
          { offset: 0, length: 2000 },
        ],
        [
          { offset: 10, length: 20 },
          { offset: 15, length: 30 },
          { offset: 10, length: 20 },
        ],
        [{ offset: 4000, length: 0 }, Buffer.alloc(0), { offset: 7, length: 1 }],
        Array.from({ length: 400 }, (_, n) => ({ offset: 4000 - n * 10 - 10, length: 9 })),
      ];
      for (const pieces of shapes) {
        const version = await begin(versioned, BYTES, "opaque");
        const { patch, document } = patchOf(version, BYTES, pieces);
        await versioned.commitSessionSnapshot({ ...runtime, sessionDelta: { patch } });
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),

    testCase("patches apply one after another to a document above 1 MiB", async ({ store, versioned }) => {
      let texts = someTexts(150, 10_000);
      let document = transcript(texts);
      let version = await begin(versioned, document);
      for (let n = 0; n < 6; n += 1) {
        texts = [...texts, `message ${String(n)} `.repeat(n * 50)];
        const next = transcript(texts);
        const patch = patchTo(version, document, next);
        const apply = { receipt: receipt(2, BigInt(n)), inputUpdates: [], sessionStoreKey: undefined };
        version = (await versioned.atomicApply({ ...runtime, sessionDelta: { patch }, ...apply })).version;
        document = next;
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),

    ...Object.entries(WRITERS).map(([name, write]) =>
      testCase(`${name} accepts a patch of a session and of opaque bytes`, async ({ store, versioned }) => {
        const version = await begin(versioned);
        assert.ok(
          await write(versioned, { patch: patchTo(version, BASE, NEXT) }, version),
          "expected a commit, found a miss",
        );
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), NEXT);
        await versioned.clearSessionSnapshot(runtime);
        const opaque = await begin(versioned, BYTES, "opaque");
        const { patch, document } = patchOf(opaque, BYTES, [{ offset: 1, length: 3 }, Buffer.of(0xff)]);
        const change = { patch, profile: "opaque" } as const;
        await versioned.commitSessionSnapshot({ ...runtime, sessionDelta: change });
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
        const named = { ...change, profile: "session" } as const;
        await assertRefused(write(versioned, named, opaque), { variant: "WriteFailed", reason: "PROFILE_MISMATCH" });
      }),
    ),

    testCase(
      "a rewrite accepts a patch, and so do the applies after it",
      ["transcriptRules"],
      async ({ store, versioned }) => {
        let version = await begin(versioned);
        const one = rewrite(TEXTS, 5, 30, ["summary"]);
        const sessionDelta = { patch: patchTo(version, BASE, one.document) };
        const { commit } = one;
        ({ version } = await versioned.commitSessionTranscriptRewriteSnapshot({ ...runtime, sessionDelta, commit }));
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), one.document);
        const texts = [...one.texts, "one more"];
        const next = transcript(texts, appended(one.history, texts));
        await WRITERS.atomicApply(versioned, { patch: patchTo(version, one.document, next) }, version);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), next);
      },
    ),

    testCase(
      "a patched session is checked like a whole document",
      ["transcriptRules"],
      async ({ store, versioned }) => {
        const version = await begin(versioned);
        const invalid = [
          transcript(TEXTS.slice(0, 39)),
          transcript(TEXTS.with(3, "changed")),
          Buffer.from(BASE.toString().replace('"messages":[', '"messages":{')),
          Buffer.from(BASE.toString().replace('"metadata":{}', '"messages":[],"metadata":{}')),
        ];
        for (const document of invalid) {
          const apply = (change: SessionChange) => WRITERS.atomicApply(versioned, change, version);
          const { variant, reason, message } = await refusalOf(apply(whole(document)));
          await assertRefused(apply({ patch: patchTo(version, BASE, document) }), { variant, reason, message });
        }
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), BASE);
      },
    ),

    testCase(
      "a patch whose base is not the stored document is refused and changes nothing",
      async ({ store, versioned }) => {
        const first = await begin(versioned);
        const second = await begin(versioned);
        const late = { patch: patchTo(first, BASE, NEXT) };
        for (const write of Object.values(WRITERS)) {
          await assertRefused(write(versioned, late, second), { ...STALE, expected: first, actual: second });
          await assertRefused(write(versioned, { patch: { ...late.patch, baseVersion: "" } }, second), STALE);
        }
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), BASE);
        assertSame(await store.loadInputStates(RUNTIME), []);
        await versioned.clearSessionSnapshot(runtime);
        const gone = { patch: patchTo(second, BASE, NEXT) };
        for (const write of Object.values(WRITERS)) {
          await assertRefused(write(versioned, gone, second), { ...STALE, actual: "none" });
        }
        assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
      },
    ),

    testCase("a patch of another runtime's base is refused", async ({ versioned }) => {
      const version = await begin(versioned);
      await versioned.commitSessionSnapshot({ runtimeId: "other", sessionDelta: whole(BASE) });
      const patch = patchTo(version, BASE, NEXT);
      await assertRefused(versioned.commitSessionSnapshot({ runtimeId: "other", sessionDelta: { patch } }), STALE);
    }),

    testCase(
      "a patch that contradicts itself or its base is refused and changes nothing",
      async ({ store, versioned }) => {
        const version = await begin(versioned);
        const patch = patchTo(version, BASE, NEXT);
        const end = BASE.length;
        const bad: readonly (readonly [field: string, Partial<typeof patch>])[] = [
          ["result_crc32", { resultCrc32: (patch.resultCrc32 ^ 1) >>> 0 }],
          ["result_length", { resultLength: patch.resultLength + 1 }],
          ["result_length", { resultLength: patch.resultLength - 1 }],
          ["pieces[0].copy", patchPieces([{ offset: 0, length: end + 1 }])],
          ["pieces[1].copy", patchPieces([Buffer.from("x"), { offset: end, length: 1 }])],
          ["pieces[0].copy", patchPieces([{ offset: end + 1, length: 0 }])],
          ["pieces[0].copy", patchPieces([{ offset: Number.MAX_SAFE_INTEGER - 8, length: 8 }])],
        ];
        for (const write of Object.values(WRITERS)) {
          for (const [record, members] of bad) {
            await assertRefused(write(versioned, { patch: { ...patch, ...members } }, version), { ...INVALID, record });
          }
        }
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), BASE);
        assertSame(await store.loadInputStates(RUNTIME), []);
      },
    ),

    testCase(
      "the largest number of parts and of new bytes is accepted, and one more is refused",
      async ({ store, versioned }) => {
        const { limits } = await versioned.getServerInfo({});
        const tooLarge = { variant: "WriteFailed", reason: "TOO_LARGE", record: "patch.pieces" } as const;
        const pieces = (count: number) =>
          Array.from({ length: count }, (_, n) => ({ offset: (n * 7) % 3999, length: 1 }));
        const inserts = (bytes: number) => [Buffer.alloc(bytes - 10, 1), { offset: 5, length: 5 }, Buffer.alloc(10, 2)];
        for (const [largest, tooMany] of [
          [pieces(limits.patchPieces), pieces(limits.patchPieces + 1)],
          [inserts(limits.patchInsertBytes), inserts(limits.patchInsertBytes + 1)],
        ] as const) {
          const version = await begin(versioned, BYTES, "opaque");
          const commit = (patch: ReturnType<typeof patchTo>) =>
            versioned.commitSessionSnapshot({ ...runtime, sessionDelta: { patch } });
          await assertRefused(commit(patchOf(version, BYTES, tooMany).patch), tooLarge);
          const { patch, document } = patchOf(version, BYTES, largest);
          await commit(patch);
          assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
        }
      },
    ),

    testCase("a patch that would produce a document above the limit is refused", async ({ store, versioned }) => {
      const { limits } = await versioned.getServerInfo({});
      const version = await begin(versioned, BYTES, "opaque");
      const copies = Math.ceil((limits.documentBytes + 1) / BYTES.length);
      assert.ok(
        copies <= limits.patchPieces,
        `expected a limit of a few MiB for documents, found ${limits.documentBytes}: configure the store under test`,
      );
      const pieces = Array.from({ length: copies }, () => ({ offset: 0, length: BYTES.length }));
      const patch = { baseVersion: version, resultLength: copies * BYTES.length, resultCrc32: 0, pieces };
      await assertRefused(versioned.commitSessionSnapshot({ ...runtime, sessionDelta: { patch } }), {
        variant: "WriteFailed",
        reason: "TOO_LARGE",
        record: "patch.result_length",
      });
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
    }),

    testCase(
      "a repeated patch returns the first response, also after the base has changed",
      async ({ store, versioned }) => {
        for (const write of Object.values(WRITERS)) {
          await versioned.clearSessionSnapshot(runtime);
          const version = await begin(versioned);
          const requestId = freshRequestId();
          const change = { patch: patchTo(version, BASE, NEXT) };
          const first = (await write(versioned, change, version, requestId)) as { version: string; replayed: boolean };
          assertEqual(first.replayed, false);
          const later = transcript([...TEXTS, "one more", "and another"]);
          await versioned.commitSessionSnapshot({ ...runtime, sessionDelta: whole(later) });
          const again = (await write(versioned, change, version, requestId)) as typeof first;
          assertSame([again.version, again.replayed], [first.version, true]);
          assertSameBytes(await store.loadSessionSnapshot(RUNTIME), later);
          const reused = { variant: "WriteFailed", reason: "REQUEST_ID_REUSED" } as const;
          const other = { patch: patchTo(version, BASE, later) };
          await assertRefused(write(versioned, other, version, requestId), reused);
          await assertRefused(
            write(versioned, { patch: { ...change.patch, baseVersion: "x" } }, version, requestId),
            reused,
          );
        }
      },
    ),

    testCase("the request id of a refused patch may be used again", async ({ versioned }) => {
      const first = await begin(versioned);
      const second = await begin(versioned);
      const requestId = freshRequestId();
      const commit = (sessionDelta: SessionChange) =>
        versioned.commitSessionSnapshot({ ...runtime, sessionDelta, requestId });
      await assertRefused(commit({ patch: patchTo(first, BASE, NEXT) }), { ...STALE, actual: second });
      assertSame(await versioned.getCommit({ requestId, seal: false }), { state: "not_found" });
      assertEqual((await commit(whole(NEXT))).replayed, false);
    }),
  ],
);

/** Returns the members of a patch with these parts, without a checksum. */
const patchPieces = (pieces: readonly DocumentPart[]) => ({
  pieces,
  resultLength: pieces.reduce((total, { length }) => total + length, 0),
});
