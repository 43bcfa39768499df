import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { DocumentPart, SessionChange, VersionedStore } from "@bolthole/contract";
import { refused, same, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, freshRequestId, inputState, receipt } from "../fixtures.js";
import { patchOf, patchTo } from "../patching.js";
import { appended, rewrite, someTexts, transcript } from "../transcripts.js";

const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;
const STALE = { variant: "WriteFailed", reason: "BASE_NOT_CURRENT", record: "patch.base_version" } as const;

const TEXTS = someTexts(40);
const BASE = transcript(TEXTS);
const NEXT = transcript([...TEXTS, "a turn"]);
/** Every range of it is told from every other. */
const BYTES = Buffer.from(Array.from({ length: 4000 }, (_, n) => (n * n * 31 + n * 7) % 256));

const of = { runtimeId: RUNTIME } as const;
const whole = (sessionSnapshot: Uint8Array, profile?: "opaque"): SessionChange => ({ sessionSnapshot, profile });

/** Each method that writes a snapshot. */
const WRITERS: Readonly<
  Record<string, (store: VersionedStore, change: SessionChange, base: string, requestId?: string) => Promise<unknown>>
> = {
  commitSessionSnapshot: (store, sessionDelta, _, requestId) =>
    store.commitSessionSnapshot({ ...of, sessionDelta, requestId }),
  atomicApply: (store, sessionDelta, _, requestId) =>
    store.atomicApply({
      ...of,
      sessionDelta,
      receipt: receipt(1, 0n),
      inputUpdates: [inputState(1)],
      sessionStoreKey: undefined,
      requestId,
    }),
  replaceSessionSnapshotIfCurrent: (store, replacement, version, requestId) =>
    store.replaceSessionSnapshotIfCurrent({ ...of, expected: { version }, replacement, requestId }),
};

async function begin(store: VersionedStore, document = BASE, profile?: "opaque"): Promise<string> {
  return (await store.commitSessionSnapshot({ ...of, sessionDelta: whole(document, profile) })).version;
}

export const patchesChapter = chapter(
  "patches",
  ["versions"],
  [
    step("a patch makes the document of its pieces, to the byte", async ({ store, versioned }) => {
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
        await versioned.commitSessionSnapshot({ ...of, sessionDelta: { patch } });
        sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),

    step("patches follow one another, over a document above 1 MiB", async ({ store, versioned }) => {
      let texts = someTexts(150, 10_000);
      let document = transcript(texts);
      let version = await begin(versioned, document);
      for (let turn = 0; turn < 6; turn += 1) {
        texts = [...texts, `turn ${String(turn)} `.repeat(turn * 50)];
        const next = transcript(texts);
        const patch = patchTo(version, document, next);
        const apply = { receipt: receipt(2, BigInt(turn)), inputUpdates: [], sessionStoreKey: undefined };
        version = (await versioned.atomicApply({ ...of, sessionDelta: { patch }, ...apply })).version;
        document = next;
        sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),

    ...Object.entries(WRITERS).map(([name, write]) =>
      step(`${name} takes a patch of a session and of opaque bytes`, async ({ store, versioned }) => {
        const version = await begin(versioned);
        assert.ok(await write(versioned, { patch: patchTo(version, BASE, NEXT) }, version));
        sameBytes(await store.loadSessionSnapshot(RUNTIME), NEXT);
        await versioned.clearSessionSnapshot(of);
        const opaque = await begin(versioned, BYTES, "opaque");
        const { patch, document } = patchOf(opaque, BYTES, [{ offset: 1, length: 3 }, Buffer.of(0xff)]);
        const change = { patch, profile: "opaque" } as const;
        await versioned.commitSessionSnapshot({ ...of, sessionDelta: change });
        sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
        const named = { ...change, profile: "session" } as const;
        await refused(write(versioned, named, opaque), { variant: "WriteFailed", reason: "PROFILE_MISMATCH" });
      }),
    ),

    step("a rewrite takes a patch, and so do the turns after it", ["transcriptRules"], async ({ store, versioned }) => {
      let version = await begin(versioned);
      const one = rewrite(TEXTS, 5, 30, ["summary"]);
      const sessionDelta = { patch: patchTo(version, BASE, one.document) };
      const { commit } = one;
      ({ version } = await versioned.commitSessionTranscriptRewriteSnapshot({ ...of, sessionDelta, commit }));
      sameBytes(await store.loadSessionSnapshot(RUNTIME), one.document);
      const texts = [...one.texts, "a turn"];
      const next = transcript(texts, appended(one.history, texts));
      await WRITERS["atomicApply"]?.(versioned, { patch: patchTo(version, one.document, next) }, version);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), next);
    }),

    step("a patched session is checked as a whole one is", ["transcriptRules"], async ({ store, versioned }) => {
      const version = await begin(versioned);
      const worse = [
        transcript(TEXTS.slice(0, 39)),
        transcript(TEXTS.with(3, "changed")),
        Buffer.from(BASE.toString().replace('"messages":[', '"messages":{')),
        Buffer.from(BASE.toString().replace('"metadata":{}', '"messages":[],"metadata":{}')),
      ];
      for (const document of worse) {
        const apply = (change: SessionChange) =>
          WRITERS["atomicApply"]?.(versioned, change, version) ?? Promise.resolve();
        const { variant, reason, message } = await refused(
          apply(whole(document)),
          await reasonOf(apply(whole(document))),
        );
        const refusal = await refused(apply({ patch: patchTo(version, BASE, document) }), { variant, reason });
        assert.equal(refusal.message, message);
      }
      sameBytes(await store.loadSessionSnapshot(RUNTIME), BASE);
    }),

    step("a patch of another base than the stored one changes nothing", async ({ store, versioned }) => {
      const first = await begin(versioned);
      const second = await begin(versioned);
      const late = { patch: patchTo(first, BASE, NEXT) };
      for (const write of Object.values(WRITERS)) {
        await refused(write(versioned, late, second), { ...STALE, expected: first, actual: second });
        await refused(write(versioned, { patch: { ...late.patch, baseVersion: "" } }, second), STALE);
      }
      sameBytes(await store.loadSessionSnapshot(RUNTIME), BASE);
      same(await store.loadInputStates(RUNTIME), []);
      await versioned.clearSessionSnapshot(of);
      const gone = { patch: patchTo(second, BASE, NEXT) };
      for (const write of Object.values(WRITERS)) {
        await refused(write(versioned, gone, second), { ...STALE, actual: "none" });
      }
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    step("another runtime's base is no base", async ({ versioned }) => {
      const version = await begin(versioned);
      await versioned.commitSessionSnapshot({ runtimeId: "other", sessionDelta: whole(BASE) });
      const patch = patchTo(version, BASE, NEXT);
      await refused(versioned.commitSessionSnapshot({ runtimeId: "other", sessionDelta: { patch } }), STALE);
    }),

    step("a patch that contradicts itself or its base changes nothing", async ({ store, versioned }) => {
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
          await refused(write(versioned, { patch: { ...patch, ...members } }, version), { ...INVALID, record });
        }
      }
      sameBytes(await store.loadSessionSnapshot(RUNTIME), BASE);
      same(await store.loadInputStates(RUNTIME), []);
    }),

    step("as many pieces and new bytes as are allowed are taken, one more is refused", async ({ store, versioned }) => {
      const { limits } = await versioned.getServerInfo({});
      const tooLarge = { variant: "WriteFailed", reason: "TOO_LARGE", record: "patch.pieces" } as const;
      const pieces = (count: number) =>
        Array.from({ length: count }, (_, n) => ({ offset: (n * 7) % 3999, length: 1 }));
      const news = (bytes: number) => [Buffer.alloc(bytes - 10, 1), { offset: 5, length: 5 }, Buffer.alloc(10, 2)];
      for (const [most, over] of [
        [pieces(limits.patchPieces), pieces(limits.patchPieces + 1)],
        [news(limits.patchInsertBytes), news(limits.patchInsertBytes + 1)],
      ] as const) {
        const version = await begin(versioned, BYTES, "opaque");
        const commit = (patch: ReturnType<typeof patchTo>) =>
          versioned.commitSessionSnapshot({ ...of, sessionDelta: { patch } });
        await refused(commit(patchOf(version, BYTES, over).patch), tooLarge);
        const { patch, document } = patchOf(version, BYTES, most);
        await commit(patch);
        sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),

    step("a patch cannot make a document above the limit", async ({ store, versioned }) => {
      const { limits } = await versioned.getServerInfo({});
      const version = await begin(versioned, BYTES, "opaque");
      const copies = Math.ceil((limits.documentBytes + 1) / BYTES.length);
      assert.ok(copies <= limits.patchPieces, "keep documentBytes of the store under test at a few MiB");
      const pieces = Array.from({ length: copies }, () => ({ offset: 0, length: BYTES.length }));
      const patch = { baseVersion: version, resultLength: copies * BYTES.length, resultCrc32: 0, pieces };
      await refused(versioned.commitSessionSnapshot({ ...of, sessionDelta: { patch } }), {
        variant: "WriteFailed",
        reason: "TOO_LARGE",
        record: "patch.result_length",
      });
      sameBytes(await store.loadSessionSnapshot(RUNTIME), BYTES);
    }),

    step("a repeated patch gets the first answer, also when the base has moved on", async ({ store, versioned }) => {
      for (const write of Object.values(WRITERS)) {
        await versioned.clearSessionSnapshot(of);
        const version = await begin(versioned);
        const requestId = freshRequestId();
        const change = { patch: patchTo(version, BASE, NEXT) };
        const first = (await write(versioned, change, version, requestId)) as { version: string; replayed: boolean };
        assert.equal(first.replayed, false);
        const later = transcript([...TEXTS, "a turn", "a later one"]);
        await versioned.commitSessionSnapshot({ ...of, sessionDelta: whole(later) });
        const again = (await write(versioned, change, version, requestId)) as typeof first;
        same([again.version, again.replayed], [first.version, true]);
        sameBytes(await store.loadSessionSnapshot(RUNTIME), later);
        const reused = { variant: "WriteFailed", reason: "REQUEST_ID_REUSED" } as const;
        const other = { patch: patchTo(version, BASE, later) };
        await refused(write(versioned, other, version, requestId), reused);
        await refused(write(versioned, { patch: { ...change.patch, baseVersion: "x" } }, version, requestId), reused);
        if (write === WRITERS["atomicApply"]) return;
      }
    }),

    step("a refused patch leaves its request id free", async ({ versioned }) => {
      const first = await begin(versioned);
      const second = await begin(versioned);
      const requestId = freshRequestId();
      const commit = (sessionDelta: SessionChange) =>
        versioned.commitSessionSnapshot({ ...of, sessionDelta, requestId });
      await refused(commit({ patch: patchTo(first, BASE, NEXT) }), { ...STALE, actual: second });
      same(await versioned.getCommit({ requestId, seal: false }), { state: "not_found" });
      assert.equal((await commit(whole(NEXT))).replayed, false);
    }),
  ],
);

const patchPieces = (pieces: readonly DocumentPart[]) => ({
  pieces,
  resultLength: pieces.reduce((total, { length }) => total + length, 0),
});

async function reasonOf(call: Promise<unknown>): Promise<Parameters<typeof refused>[1]> {
  const error: unknown = await call.then(
    () => assert.fail("it was not refused"),
    (reason: unknown) => reason,
  );
  return error as Parameters<typeof refused>[1];
}
