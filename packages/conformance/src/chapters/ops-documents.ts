import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import {
  type DocumentRecord,
  type LoadedDocument,
  type OpsDelta,
  type VersionedStore,
  emptyContents,
  exportContents,
  importContents,
} from "@bolthole/contract";
import { writeOpsSnapshot } from "@bolthole/json";
import { assertEqual, assertRefused, assertSame, assertSameBytes } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  freshRequestId,
  inputState,
  opsSnapshot,
  opsWithResults,
  patchOf,
  patchTo,
  receipt,
  session,
} from "../fixtures.js";

const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;
const UNKNOWN = { variant: "WriteFailed", reason: "UPLOAD_UNKNOWN", record: "upload_id" } as const;
const STALE = { variant: "WriteFailed", reason: "BASE_NOT_CURRENT", record: "patch.base_version" } as const;

const runtime = { runtimeId: RUNTIME } as const;

/** Snapshots of a few kB, of some hundred kB, and of more than a value may have. */
const SMALL = writeOpsSnapshot(opsSnapshot(3));
const MEDIUM = writeOpsSnapshot(opsWithResults(10, 5_000));
const LARGE = writeOpsSnapshot(opsWithResults(11, 100_000));

/** Returns the same snapshot with white space, and with a member that only another version knows. */
const respelled = (json: Buffer): Buffer =>
  Buffer.concat([Buffer.from('{ "of_a_later_version": [1.50, {"x": null}],\n'), json.subarray(1)]);

async function bytesOf(loaded: LoadedDocument | undefined): Promise<Buffer | undefined> {
  if (!loaded) return undefined;
  const chunks: Buffer[] = [];
  for await (const chunk of loaded.chunks) chunks.push(Buffer.from(chunk));
  const bytes = Buffer.concat(chunks);
  assertEqual(bytes.length, loaded.length, "the length of the JSON");
  return bytes;
}

const load = async (store: VersionedStore, runtimeId = RUNTIME): Promise<Buffer | undefined> =>
  bytesOf(await store.loadOpsLifecycleJson({ runtimeId }));

const upload = (store: VersionedStore, document: Buffer, record: DocumentRecord = "ops_lifecycle") =>
  store.uploadSessionSnapshot({
    ...runtime,
    record,
    length: document.length,
    sha256: createHash("sha256").update(document).digest(),
    chunks: partsOf(document),
  });

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the bytes are in memory
async function* partsOf(document: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < document.length; at += 1 << 20) yield document.subarray(at, at + (1 << 20));
}

const persist = (store: VersionedStore, opsDelta: OpsDelta, requestId?: string) =>
  store.persistOpsLifecycle({ ...runtime, opsDelta, requestId });

/** Each way to send a snapshot whole. */
const WAYS: Readonly<Record<string, (store: VersionedStore, json: Buffer) => Promise<OpsDelta>>> = {
  "in the request": (_, opsSnapshotBytes) => Promise.resolve({ opsSnapshot: opsSnapshotBytes }),
  "as an upload": async (store, json) => ({ uploadId: await upload(store, json) }),
};

/** Operation snapshots as JSON, of any size. */
export const opsDocumentsChapter = chapter(
  "ops documents",
  ["versions"],
  [
    ...Object.entries(WAYS).map(([way, deltaOf]) =>
      testCase(`JSON that is sent ${way} is kept byte for byte, with unknown members`, async (context) => {
        const { store, versioned } = context;
        for (const json of [SMALL, LARGE, MEDIUM, respelled(LARGE), respelled(SMALL)]) {
          await persist(versioned, await deltaOf(versioned, json));
          assertSameBytes(await load(versioned), json);
        }
        assertSame(await store.loadOpsLifecycle(RUNTIME), opsSnapshot(3));
      }),
    ),

    testCase("an operation snapshot of any size is loaded as it was persisted", async ({ store }) => {
      for (const [count, bytes] of [
        [1, 10],
        [11, 100_000],
        [10, 5_000],
        [0, 0],
        [200, 5_000],
      ] as const) {
        await store.persistOpsLifecycle(RUNTIME, opsWithResults(count, bytes));
        assertSame(await store.loadOpsLifecycle(RUNTIME), opsWithResults(count, bytes));
      }
    }),

    testCase("a snapshot that grows by one result at a time is loaded as it was persisted", async ({ store }) => {
      for (let count = 1; count <= 24; count += 1) {
        await store.persistOpsLifecycle(RUNTIME, opsWithResults(count, 30_000));
      }
      assertSame(await store.loadOpsLifecycle(RUNTIME), opsWithResults(24, 30_000));
    }),

    testCase("a patch produces the JSON of its parts over a snapshot of any size", async ({ versioned }) => {
      let base = LARGE;
      let { version } = await persist(versioned, { opsSnapshot: base });
      for (const next of [respelled(LARGE), MEDIUM, respelled(MEDIUM), SMALL, respelled(SMALL), MEDIUM]) {
        ({ version } = await persist(versioned, { patch: patchTo(version, base, next) }));
        assertSameBytes(await load(versioned), next);
        base = next;
      }
    }),

    testCase("a patch over another snapshot than the stored one is refused", async ({ versioned }) => {
      const { version } = await persist(versioned, { opsSnapshot: MEDIUM });
      const patch = patchTo(version, MEDIUM, respelled(MEDIUM));
      await persist(versioned, { opsSnapshot: LARGE });
      await assertRefused(persist(versioned, { patch }), STALE);
      await versioned.deleteOpsLifecycle(runtime);
      await assertRefused(persist(versioned, { patch }), { ...STALE, actual: "none" });
      assertEqual(await load(versioned), undefined);
    }),

    testCase("a patch with a wrong checksum, length or range is refused", async ({ versioned }) => {
      for (const base of [SMALL, MEDIUM, LARGE]) {
        const { version } = await persist(versioned, { opsSnapshot: base });
        const { patch } = patchOf(version, base, [{ offset: 0, length: base.length }]);
        const outside = { ...patch, resultLength: 3, pieces: [{ offset: base.length - 2, length: 3 }] };
        for (const [record, wrong] of [
          ["result_crc32", { ...patch, resultCrc32: 7 }],
          ["result_length", { ...patch, resultLength: base.length + 1 }],
          ["pieces[0].copy", outside],
        ] as const) {
          await assertRefused(persist(versioned, { patch: wrong }), { ...INVALID, record });
        }
        assertSameBytes(await load(versioned), base);
      }
    }),

    testCase(
      "text that is no operation snapshot is refused in every form, and the stored one stays",
      async (context) => {
        const { versioned } = context;
        for (const json of [SMALL, LARGE, MEDIUM]) {
          const { version } = await persist(versioned, { opsSnapshot: json });
          // The end of the JSON, so that everything before it has been read.
          const bad = Buffer.concat([json.subarray(0, json.lastIndexOf(":")), Buffer.from(":-1}}")]);
          const refusal = { ...INVALID, record: "ops_delta.cursors.runtime_last_injected_seq" };
          for (const deltaOf of Object.values(WAYS)) {
            await assertRefused(persist(versioned, await deltaOf(versioned, bad)), refusal);
          }
          await assertRefused(persist(versioned, { patch: patchTo(version, json, bad) }), refusal);
          assertSameBytes(await load(versioned), json);
        }
        for (const bad of [Buffer.alloc(0), Buffer.from("{"), Buffer.from("[]"), Buffer.from([0x01, 0xff])]) {
          await assertRefused(persist(versioned, { opsSnapshot: bad }), { ...INVALID, record: "ops_delta" });
        }
        const enumeration = Buffer.from(MEDIUM.toString().replace('"status":"completed"', '"status":"paused"'));
        await assertRefused(persist(versioned, { opsSnapshot: enumeration }), { ...INVALID, record: "status" });
        assertSameBytes(await load(versioned), MEDIUM);
      },
    ),

    testCase("a request has either a value or JSON", async ({ versioned }) => {
      const both = { snapshot: opsSnapshot(1), opsDelta: { opsSnapshot: SMALL } };
      await assertRefused(versioned.persistOpsLifecycle({ ...runtime, ...both }), { ...INVALID, record: "ops_delta" });
      await assertRefused(versioned.persistOpsLifecycle(runtime), { ...INVALID, record: "snapshot" });
    }),

    testCase("a value above its limit is refused, and so is a load of the JSON as a value", async ({ versioned }) => {
      const { typedOpsSnapshotBytes } = (await versioned.getServerInfo({})).limits;
      const snapshot = opsWithResults(11, 100_000);
      assert.ok(LARGE.length > typedOpsSnapshotBytes, "expected a fixture above the limit of a value");
      const expected = `at most ${typedOpsSnapshotBytes} bytes`;
      await assertRefused(versioned.persistOpsLifecycle({ ...runtime, snapshot }), {
        variant: "WriteFailed",
        reason: "TOO_LARGE",
        record: "snapshot",
        expected,
        actual: `${LARGE.length} bytes`,
      });
      await persist(versioned, { opsSnapshot: LARGE });
      const error = await assertRefused(versioned.loadOpsLifecycle(runtime), {
        variant: "ReadFailed",
        reason: "TOO_LARGE",
        expected,
        actual: `${LARGE.length} bytes`,
      });
      assert.match(error.message, /LoadOpsLifecycleJson/);
      await persist(versioned, { opsSnapshot: MEDIUM });
      assertSame((await versioned.loadOpsLifecycle(runtime))?.value, opsWithResults(10, 5_000));
    }),

    testCase("an upload is used for its own record, and once", async ({ store, versioned }) => {
      const document = session(1, 3);
      const ofSession = await upload(versioned, document, "session_snapshot");
      const ofOps = await upload(versioned, LARGE);
      await assertRefused(persist(versioned, { uploadId: ofSession }), UNKNOWN);
      const commit = (uploadId: string) =>
        versioned.commitSessionSnapshot({ ...runtime, sessionDelta: { uploadId, profile: "opaque" } });
      await assertRefused(commit(ofOps), UNKNOWN);
      await persist(versioned, { uploadId: ofOps });
      await assertRefused(persist(versioned, { uploadId: ofOps }), UNKNOWN);
      await commit(ofSession);
      assertSameBytes(await load(versioned), LARGE);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
    }),

    testCase("an upload above the limit of operation snapshots is refused", async ({ versioned }) => {
      const { operationSnapshotBytes } = (await versioned.getServerInfo({})).limits;
      const call = versioned.uploadSessionSnapshot({
        ...runtime,
        record: "ops_lifecycle",
        length: operationSnapshotBytes + 1,
        sha256: Buffer.alloc(32),
        chunks: partsOf(SMALL),
      });
      const refusal = { variant: "WriteFailed", reason: "TOO_LARGE", record: "upload.length" } as const;
      await assertRefused(call, { ...refusal, expected: `at most ${operationSnapshotBytes} bytes` });
    }),

    testCase("a repeated request returns the first response, in whichever form it is sent", async ({ versioned }) => {
      const requestId = freshRequestId();
      const first = await versioned.persistOpsLifecycle({ ...runtime, requestId, snapshot: opsSnapshot(3) });
      const again = await persist(versioned, { opsSnapshot: SMALL }, requestId);
      assertSame([first.replayed, again.version, again.replayed], [false, first.version, true]);
      await assertRefused(persist(versioned, { opsSnapshot: MEDIUM }, requestId), {
        variant: "WriteFailed",
        reason: "REQUEST_ID_REUSED",
      });
      for (const deltaOf of Object.values(WAYS)) {
        const id = freshRequestId();
        const delta = await deltaOf(versioned, LARGE);
        const { version } = await persist(versioned, delta, id);
        await persist(versioned, { opsSnapshot: MEDIUM });
        const replayed = await persist(versioned, delta, id);
        assertSame([replayed.version, replayed.replayed], [version, true]);
        assertSameBytes(await load(versioned), MEDIUM);
      }
      const id = freshRequestId();
      const base = await persist(versioned, { opsSnapshot: LARGE });
      const patch = patchTo(base.version, LARGE, respelled(LARGE));
      const { version } = await persist(versioned, { patch }, id);
      const replayed = await persist(versioned, { patch }, id);
      assertSame([replayed.version, replayed.replayed], [version, true]);
    }),

    testCase("expectations hold for large snapshots too", async ({ versioned }) => {
      const { version } = await persist(versioned, { opsSnapshot: LARGE });
      const expecting = (expected: string | undefined) =>
        versioned.persistOpsLifecycle({
          ...runtime,
          opsDelta: { opsSnapshot: respelled(LARGE) },
          expectedVersions: [{ record: "ops_lifecycle", version: expected }],
        });
      await assertRefused(expecting(undefined), { variant: "WriteFailed", reason: "VERSION_CONFLICT" });
      await expecting(version);
      await assertRefused(expecting(version), { variant: "WriteFailed", reason: "VERSION_CONFLICT" });
      assertSameBytes(await load(versioned), respelled(LARGE));
    }),

    testCase("a session and an operation snapshot of one runtime do not touch each other", async (context) => {
      const { store, versioned } = context;
      const document = session(1, 200, 2_000);
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
      await persist(versioned, { opsSnapshot: LARGE });
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      await versioned.clearSessionSnapshot(runtime);
      assertSameBytes(await load(versioned), LARGE);
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
      await versioned.deleteOpsLifecycle(runtime);
      assertEqual(await load(versioned), undefined);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
    }),

    testCase("a reader gets the snapshot that it began to read, whatever is persisted meanwhile", async (context) => {
      const { versioned } = context;
      await persist(versioned, { opsSnapshot: LARGE });
      const loaded = await versioned.loadOpsLifecycleJson(runtime);
      await persist(versioned, { opsSnapshot: MEDIUM });
      await versioned.deleteOpsLifecycle(runtime);
      assertSameBytes(await bytesOf(loaded), LARGE);
    }),

    testCase("persists at the same time are applied one after the other", async ({ versioned }) => {
      const all = [SMALL, MEDIUM, LARGE, respelled(LARGE)];
      await Promise.all(
        [...all, ...all].map((opsSnapshotBytes) => persist(versioned, { opsSnapshot: opsSnapshotBytes })),
      );
      const stored = await load(versioned);
      assert.ok(
        all.some((json) => stored?.equals(json)),
        "expected one of the persisted snapshots, found another one",
      );
    }),

    testCase("the deletion of a runtime deletes its large operation snapshot", async ({ store, versioned }) => {
      await persist(versioned, { opsSnapshot: LARGE });
      await store.persistInputState(RUNTIME, inputState(1));
      const { hadOpsLifecycle, inputStates } = await versioned.deleteRuntime(runtime);
      assertSame({ hadOpsLifecycle, inputStates }, { hadOpsLifecycle: true, inputStates: 1 });
      assertEqual(await load(versioned), undefined);
      await persist(versioned, { opsSnapshot: LARGE });
      assertSameBytes(await load(versioned), LARGE);
    }),

    testCase("large operation snapshots are kept over a restart", ["durable"], async (context) => {
      await persist(context.versioned, { opsSnapshot: LARGE });
      await context.store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      const { version } = (await context.versioned.loadOpsLifecycleJson(runtime)) ?? {};
      await context.reopen();
      const loaded = await context.versioned.loadOpsLifecycleJson(runtime);
      assertEqual(loaded?.version, version);
      assertSameBytes(await bytesOf(loaded), LARGE);
      await persist(context.versioned, { patch: patchTo(loaded?.version ?? "", LARGE, respelled(LARGE)) });
      await context.reopen();
      assertSameBytes(await load(context.versioned), respelled(LARGE));
    }),

    testCase(
      "an operation snapshot of any size is exported and imported byte for byte",
      ["transfers"],
      async (context) => {
        const { transfer, versioned } = context;
        for (const ops of [SMALL, MEDIUM, respelled(LARGE)]) {
          const contents = { ...emptyContents(RUNTIME), ops };
          await importContents(transfer, { contents, overwrite: true, dryRun: false });
          assertSameBytes(await load(versioned), ops);
          assertEqual(await importContents(transfer, { contents, overwrite: false, dryRun: false }), "unchanged");
          for (const salvage of [false, true]) {
            const exported = await exportContents(transfer, { ...runtime, salvage });
            assertSame(exported?.findings, []);
            assertSameBytes(exported?.ops, ops);
          }
        }
        const other = {
          ...emptyContents(RUNTIME),
          ops: Buffer.from(respelled(LARGE).toString().replace("1.50", "1.51")),
        };
        assertEqual(await importContents(transfer, { contents: other, overwrite: false, dryRun: false }), "kept");
        const invalid = { ...emptyContents(RUNTIME), ops: Buffer.concat([LARGE, Buffer.from("x")]) };
        await assertRefused(importContents(transfer, { contents: invalid, overwrite: true, dryRun: false }), {
          ...INVALID,
          record: "ops",
        });
        assertSameBytes(await load(versioned), respelled(LARGE));
      },
    ),
  ],
);
