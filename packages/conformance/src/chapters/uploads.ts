import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomUUID } from "node:crypto";
import { type SessionChange, type UploadSessionSnapshot, type VersionedStore } from "@bolthole/contract";
import { assertEqual, assertRefused, assertSame, assertSameBytes, rejectionOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, freshRequestId, receipt, session } from "../fixtures.js";

const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;
const UNKNOWN = { variant: "WriteFailed", reason: "UPLOAD_UNKNOWN", record: "upload_id" } as const;
const DOCUMENT = session(1, 3);

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

// eslint-disable-next-line @typescript-eslint/require-await -- an asynchronous generator can be read only once, so no client sends it again
async function* once(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

const upload = (store: VersionedStore, document: Buffer, members: Partial<UploadSessionSnapshot> = {}) =>
  store.uploadSessionSnapshot({
    runtimeId: RUNTIME,
    length: document.length,
    sha256: sha256(document),
    chunks: once(document.subarray(0, 100), document.subarray(100)),
    ...members,
  });

const commit = (store: VersionedStore, uploadId: string, members: { runtimeId?: string; requestId?: string } = {}) =>
  store.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { uploadId }, ...members });

const apply = (store: VersionedStore, sessionDelta: SessionChange, sequence: bigint) =>
  store.atomicApply({
    runtimeId: RUNTIME,
    sessionDelta,
    receipt: receipt(1, sequence),
    inputUpdates: [],
    sessionStoreKey: undefined,
  });

/** Documents that are uploaded before the commit that uses them. */
export const uploadsChapter = chapter(
  "uploads",
  ["versions"],
  [
    testCase("an uploaded document of several MiB is committed byte for byte", async ({ store, versioned }) => {
      const document = session(1, 250, 10_000);
      const chunks: Buffer[] = [];
      for (let at = 0; at < document.length; at += 700_001) chunks.push(document.subarray(at, at + 700_001));
      await commit(versioned, await upload(versioned, document, { chunks: once(...chunks) }));
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
    }),

    testCase(
      "a committed document does not change when the caller overwrites the uploaded bytes",
      async ({ versioned }) => {
        const runtimes = ["agent:first", "agent:second", "agent:third"];
        const documents = [1, 2, 3].map((id) => session(id, 250 + id, 10_000));
        for (const [index, document] of documents.entries()) {
          const runtimeId = runtimes[index] ?? "";
          // The caller may reuse its buffer after the commit.
          const sent = Buffer.from(document);
          await commit(versioned, await upload(versioned, sent, { runtimeId, sha256: sha256(document) }), {
            runtimeId,
          });
          sent.fill(0);
        }
        for (const [index, runtimeId] of runtimes.entries()) {
          const loaded = await versioned.loadSessionSnapshot({ runtimeId });
          const chunks: Uint8Array[] = [];
          for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
          assertSameBytes(Buffer.concat(chunks), documents[index]);
        }
      },
    ),

    testCase("every call that writes a snapshot accepts an upload, of either profile", async ({ store, versioned }) => {
      await apply(versioned, { uploadId: await upload(versioned, DOCUMENT) }, 0n);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), DOCUMENT);
      const replaced = await versioned.replaceSessionSnapshotIfCurrent({
        runtimeId: RUNTIME,
        expected: { sha256: sha256(DOCUMENT) },
        replacement: { uploadId: await upload(versioned, session(1, 9)) },
      });
      assert.ok(replaced, "expected a replacement, found a miss");
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 9));
      await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
      const bytes = Buffer.of(0xff, 0, 0xfe);
      await apply(versioned, { uploadId: await upload(versioned, bytes), profile: "opaque" }, 1n);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), bytes);
      await commit(versioned, await upload(versioned, Buffer.alloc(0)));
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), Buffer.alloc(0));
    }),

    testCase(
      "an upload is used up by the commit that applies it, and not by a refused one",
      async ({ store, versioned }) => {
        await apply(versioned, { sessionSnapshot: session(1, 1) }, 0n);
        const uploadId = await upload(versioned, DOCUMENT);
        await assertRefused(apply(versioned, { uploadId }, 0n), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
        const missed = { runtimeId: RUNTIME, expected: { version: "another" }, replacement: { uploadId } };
        assertEqual(await versioned.replaceSessionSnapshotIfCurrent(missed), undefined);
        await apply(versioned, { uploadId }, 1n);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), DOCUMENT);
        await assertRefused(apply(versioned, { uploadId }, 2n), UNKNOWN);
        await assertRefused(commit(versioned, uploadId), UNKNOWN);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), DOCUMENT);
      },
    ),

    testCase(
      "an upload belongs to one runtime, and an id without an upload is unknown",
      async ({ store, versioned }) => {
        const uploadId = await upload(versioned, DOCUMENT);
        await assertRefused(commit(versioned, uploadId, { runtimeId: "other" }), UNKNOWN);
        assertEqual(await store.loadSessionSnapshot("other"), undefined);
        for (const id of ["", "x", randomUUID()]) await assertRefused(commit(versioned, id), UNKNOWN);
        await commit(versioned, uploadId);
      },
    ),

    testCase(
      "an upload whose bytes differ from the declared length or digest is refused",
      async ({ store, versioned }) => {
        const { length } = DOCUMENT;
        const another = Buffer.from(DOCUMENT);
        another[length - 2] = 0x20;
        await assertRefused(upload(versioned, DOCUMENT, { sha256: sha256(another) }), {
          ...INVALID,
          record: "upload.sha256",
        });
        await assertRefused(upload(versioned, DOCUMENT, { sha256: sha256(DOCUMENT).subarray(1) }), {
          ...INVALID,
          record: "upload.sha256",
        });
        for (const wrong of [length - 1, length + 1, 0]) {
          await assertRefused(upload(versioned, DOCUMENT, { length: wrong }), { ...INVALID, record: "chunk" });
        }
        await assertRefused(upload(versioned, DOCUMENT, { chunks: once() }), { ...INVALID, record: "chunk" });
        assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
      },
    ),

    testCase(
      "an upload with a declared length above the limit is refused, and is not read to its end",
      async ({ versioned }) => {
        const { limits } = await versioned.getServerInfo({});
        let requested = 0;
        // eslint-disable-next-line @typescript-eslint/require-await -- the store must stop it
        async function* endless(): AsyncGenerator<Uint8Array> {
          for (const chunk = Buffer.alloc(1 << 20); requested < 1000; requested += 1) yield chunk;
        }
        const declared = { length: limits.documentBytes + 1, chunks: endless() };
        await assertRefused(upload(versioned, DOCUMENT, declared), {
          variant: "WriteFailed",
          reason: "TOO_LARGE",
          record: "upload.length",
        });
        assert.ok(requested < 1000, "expected that the store stops reading, found that it read all 1000 chunks");
      },
    ),

    testCase("uploads that declare all bytes of the budget and send few keep no other out", async ({ versioned }) => {
      const { documentBytes, uploadBytes } = (await versioned.getServerInfo({})).limits;
      let finish = (): void => undefined;
      const finished = new Promise<void>((resolve) => {
        finish = resolve;
      });
      let begun = 0;
      async function* waiting(): AsyncGenerator<Uint8Array> {
        yield DOCUMENT;
        begun += 1;
        await finished;
      }
      const count = Math.floor(uploadBytes / documentBytes) + 1;
      const one = () => upload(versioned, DOCUMENT, { length: documentBytes, chunks: waiting() });
      const others = Array.from({ length: count }, () => rejectionOf(one()));
      await commit(versioned, await upload(versioned, DOCUMENT));
      assertSame(begun, count);
      finish();
      for (const end of await Promise.all(others)) assertSame((end as { reason?: string }).reason, "INVALID_ARGUMENT");
    }),

    testCase("an uploaded document is checked like a document in a request", async ({ store, versioned }) => {
      for (const bad of [Buffer.from("{"), Buffer.alloc(0), Buffer.from("[]")]) {
        const whole = versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: bad } });
        const { message } = await assertRefused(whole, INVALID);
        await assertRefused(commit(versioned, await upload(versioned, bad)), { ...INVALID, message });
      }
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    testCase(
      "a repeated commit of an upload returns the first response, and another upload is another request",
      async (context) => {
        const { versioned } = context;
        const requestId = freshRequestId();
        const uploadId = await upload(versioned, DOCUMENT);
        const first = await commit(versioned, uploadId, { requestId });
        const again = await commit(versioned, uploadId, { requestId });
        assertSame([first.replayed, again.version, again.replayed], [false, first.version, true]);
        await assertRefused(commit(versioned, await upload(versioned, session(1, 4)), { requestId }), {
          variant: "WriteFailed",
          reason: "REQUEST_ID_REUSED",
        });
        assertSameBytes(await context.store.loadSessionSnapshot(RUNTIME), DOCUMENT);
      },
    ),

    testCase("uploads are discarded when the store is closed", ["durable"], async (context) => {
      const uploadId = await upload(context.versioned, DOCUMENT);
      await context.reopen();
      await assertRefused(commit(context.versioned, uploadId), UNKNOWN);
    }),
  ],
);
