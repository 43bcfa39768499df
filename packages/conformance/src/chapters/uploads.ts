import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomUUID } from "node:crypto";
import { type SessionChange, StoreError, type UploadSessionSnapshot, type VersionedStore } from "@bolthole/contract";
import { refused, rejection, same, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, freshRequestId, receipt, session } from "../fixtures.js";

const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;
const UNKNOWN = { variant: "WriteFailed", reason: "UPLOAD_UNKNOWN", record: "upload_id" } as const;
const DOCUMENT = session(1, 3);

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

// eslint-disable-next-line @typescript-eslint/require-await -- given only once, so that it is not sent again
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

export const uploadsChapter = chapter(
  "uploads",
  ["versions"],
  [
    step("an uploaded document of several MiB is committed to the byte", async ({ store, versioned }) => {
      const document = session(1, 250, 10_000);
      const chunks: Buffer[] = [];
      for (let at = 0; at < document.length; at += 700_001) chunks.push(document.subarray(at, at + 700_001));
      await commit(versioned, await upload(versioned, document, { chunks: once(...chunks) }));
      sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
    }),

    step("documents that follow each other in the same memory stay what they were", async ({ versioned }) => {
      const runtimes = ["agent:first", "agent:second", "agent:third"];
      const documents = [1, 2, 3].map((id) => session(id, 250 + id, 10_000));
      for (const [index, document] of documents.entries()) {
        const runtimeId = runtimes[index] ?? "";
        // What was sent is the sender's own again.
        const sent = Buffer.from(document);
        await commit(versioned, await upload(versioned, sent, { runtimeId, sha256: sha256(document) }), { runtimeId });
        sent.fill(0);
      }
      for (const [index, runtimeId] of runtimes.entries()) {
        const loaded = await versioned.loadSessionSnapshot({ runtimeId });
        const chunks: Uint8Array[] = [];
        for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
        sameBytes(Buffer.concat(chunks), documents[index]);
      }
    }),

    step("every call that writes a snapshot takes an upload, of either profile", async ({ store, versioned }) => {
      await apply(versioned, { uploadId: await upload(versioned, DOCUMENT) }, 0n);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), DOCUMENT);
      const replaced = await versioned.replaceSessionSnapshotIfCurrent({
        runtimeId: RUNTIME,
        expected: { sha256: sha256(DOCUMENT) },
        replacement: { uploadId: await upload(versioned, session(1, 9)) },
      });
      assert.ok(replaced);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 9));
      await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
      const bytes = Buffer.of(0xff, 0, 0xfe);
      await apply(versioned, { uploadId: await upload(versioned, bytes), profile: "opaque" }, 1n);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), bytes);
      await commit(versioned, await upload(versioned, Buffer.alloc(0)));
      sameBytes(await store.loadSessionSnapshot(RUNTIME), Buffer.alloc(0));
    }),

    step("an upload is used up by the commit that it goes with, not by a refused one", async ({ store, versioned }) => {
      await apply(versioned, { sessionSnapshot: session(1, 1) }, 0n);
      const uploadId = await upload(versioned, DOCUMENT);
      await refused(apply(versioned, { uploadId }, 0n), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
      const missed = { runtimeId: RUNTIME, expected: { version: "another" }, replacement: { uploadId } };
      assert.equal(await versioned.replaceSessionSnapshotIfCurrent(missed), undefined);
      await apply(versioned, { uploadId }, 1n);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), DOCUMENT);
      await refused(apply(versioned, { uploadId }, 2n), UNKNOWN);
      await refused(commit(versioned, uploadId), UNKNOWN);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), DOCUMENT);
    }),

    step("an upload belongs to its runtime, and one that never was is unknown", async ({ store, versioned }) => {
      const uploadId = await upload(versioned, DOCUMENT);
      await refused(commit(versioned, uploadId, { runtimeId: "other" }), UNKNOWN);
      assert.equal(await store.loadSessionSnapshot("other"), undefined);
      for (const id of ["", "x", randomUUID()]) await refused(commit(versioned, id), UNKNOWN);
      await commit(versioned, uploadId);
    }),

    step("bytes that are not what was declared are refused", async ({ store, versioned }) => {
      const { length } = DOCUMENT;
      const another = Buffer.from(DOCUMENT);
      another[length - 2] = 0x20;
      await refused(upload(versioned, DOCUMENT, { sha256: sha256(another) }), { ...INVALID, record: "upload.sha256" });
      await refused(upload(versioned, DOCUMENT, { sha256: sha256(DOCUMENT).subarray(1) }), {
        ...INVALID,
        record: "upload.sha256",
      });
      for (const wrong of [length - 1, length + 1, 0]) {
        await refused(upload(versioned, DOCUMENT, { length: wrong }), { ...INVALID, record: "chunk" });
      }
      await refused(upload(versioned, DOCUMENT, { chunks: once() }), { ...INVALID, record: "chunk" });
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    step("a document above the limit is refused by what is declared of it", async ({ versioned }) => {
      const { limits } = await versioned.getServerInfo({});
      let asked = 0;
      // eslint-disable-next-line @typescript-eslint/require-await -- it must be stopped from the other side
      async function* endless(): AsyncGenerator<Uint8Array> {
        for (const chunk = Buffer.alloc(1 << 20); asked < 1000; asked += 1) yield chunk;
      }
      const declared = { length: limits.documentBytes + 1, chunks: endless() };
      await refused(upload(versioned, DOCUMENT, declared), {
        variant: "WriteFailed",
        reason: "TOO_LARGE",
        record: "upload.length",
      });
      assert.ok(asked < 1000, "all chunks were taken");
    }),

    step(
      "uploads that would have more bytes than their budget are refused, and leave nothing",
      async ({ versioned }) => {
        const { documentBytes, uploadBytes } = (await versioned.getServerInfo({})).limits;
        let finish = (): void => undefined;
        const finished = new Promise<void>((resolve) => {
          finish = resolve;
        });
        async function* waiting(): AsyncGenerator<Uint8Array> {
          yield DOCUMENT;
          await finished;
        }
        const one = (chunks: AsyncIterable<Uint8Array>) =>
          upload(versioned, DOCUMENT, { length: documentBytes, chunks });
        const fill = Array.from({ length: Math.floor(uploadBytes / documentBytes) }, () => rejection(one(waiting())));
        // Those before are on their way: until they are all there, the next one is only too short.
        let error: unknown;
        for (let tries = 0; tries < 1000; tries += 1) {
          error = await rejection(one(once(DOCUMENT)));
          if (error instanceof StoreError && error.reason === "BUSY") break;
        }
        assert.ok(error instanceof StoreError);
        same([error.variant, error.reason, error.applied], ["WriteFailed", "BUSY", "no"]);
        finish();
        for (const end of await Promise.all(fill)) same((end as { reason?: string }).reason, "INVALID_ARGUMENT");
        await commit(versioned, await upload(versioned, DOCUMENT));
      },
    ),

    step("an uploaded document is checked as one in a request is", async ({ store, versioned }) => {
      for (const bad of [Buffer.from("{"), Buffer.alloc(0), Buffer.from("[]")]) {
        const whole = versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: bad } });
        const { message } = await refused(whole, INVALID);
        await refused(commit(versioned, await upload(versioned, bad)), { ...INVALID, message });
      }
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    step(
      "a repeat with the same request id gets the first answer, another upload is another request",
      async (context) => {
        const { versioned } = context;
        const requestId = freshRequestId();
        const uploadId = await upload(versioned, DOCUMENT);
        const first = await commit(versioned, uploadId, { requestId });
        const again = await commit(versioned, uploadId, { requestId });
        same([first.replayed, again.version, again.replayed], [false, first.version, true]);
        await refused(commit(versioned, await upload(versioned, session(1, 4)), { requestId }), {
          variant: "WriteFailed",
          reason: "REQUEST_ID_REUSED",
        });
        sameBytes(await context.store.loadSessionSnapshot(RUNTIME), DOCUMENT);
      },
    ),

    step("uploads do not outlive the store that is open", ["durable"], async (context) => {
      const uploadId = await upload(context.versioned, DOCUMENT);
      await context.reopen();
      await refused(commit(context.versioned, uploadId), UNKNOWN);
    }),
  ],
);
