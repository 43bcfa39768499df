import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { assertEqual, assertRefused, assertSame, assertSameBytes, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

/** Returns the same JSON value as `document` in other bytes. */
const respelled = (document: Buffer): Buffer => Buffer.from(` ${document.toString()}\n`);

const INVALID_SESSIONS: readonly (readonly [string, Buffer])[] = [
  ["an empty document", Buffer.alloc(0)],
  ["a text that is not JSON", Buffer.from("session-data")],
  ["a truncated session", session(1, 1).subarray(0, -1)],
  ["a session with trailing characters", Buffer.concat([session(1, 1), Buffer.from("}")])],
  ["bytes that are not UTF-8", Buffer.concat([Buffer.from([0xff]), session(1, 1)])],
  ["a list", Buffer.from("[]")],
  ["a session without an id", Buffer.from(session(1, 0).toString().replace('"id"', '"di"'))],
  ["a session whose id is not a UUID", Buffer.from(session(1, 0).toString().replace('"id":"0', '"id":"x'))],
];

/** Session snapshots: commit, load, clear, and the conditional forms that compare bytes. */
export const sessionChapter = chapter(
  "session",
  [],
  [
    testCase("a load returns the committed snapshot byte for byte", async ({ store }) => {
      const document = Buffer.from(
        session(1, 2)
          .toString()
          .replace(
            '"metadata":{}',
            '"metadata":{"zulu":1.50,"alpha":"\\u00e9\\/ \u{1f600}"} , "unknown" : [ 1E2 , -0 ]\t',
          ),
      );
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
    }),

    testCase("an empty runtime has no snapshot, and a clear of it succeeds", async ({ store }) => {
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.clearSessionSnapshot(RUNTIME);
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    testCase(
      "a commit replaces the stored snapshot, whether longer, shorter or of another session",
      async ({ store }) => {
        for (const document of [session(1, 1), session(1, 5), session(1, 2), session(2, 1), session(1, 0)]) {
          await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
          assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
        }
      },
    ),

    testCase(
      "a snapshot of several MiB is loaded byte for byte, and so is a smaller one after it",
      async ({ store }) => {
        for (const document of [session(1, 300, 10_000), session(1, 3)]) {
          await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
          assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
        }
      },
    ),

    testCase(
      "a large snapshot is loaded in chunks of at most 1 MiB that add up to its length",
      ["versions"],
      async (context) => {
        const document = session(1, 250, 10_000);
        const { version } = await context.versioned.commitSessionSnapshot({
          runtimeId: RUNTIME,
          sessionDelta: { sessionSnapshot: document },
        });
        const loaded = await context.versioned.loadSessionSnapshot({ runtimeId: RUNTIME });
        assert.ok(loaded, "expected a snapshot, found none");
        assertSame({ ...loaded, chunks: undefined }, { version, length: document.length, profile: "session" });
        const chunks: Uint8Array[] = [];
        for await (const chunk of loaded.chunks) chunks.push(chunk);
        for (const { length } of chunks)
          assert.ok(length <= 1 << 20, `expected chunks of at most 1 MiB, found ${length} bytes`);
        assertSameBytes(Buffer.concat(chunks), document);
      },
    ),

    testCase("a store keeps no reference to the buffers that it receives and returns", async ({ store }) => {
      const document = session(1, 1);
      const passed = [Buffer.from(document), Buffer.from("oauth")] as const;
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: passed[0] });
      await store.persistAuthOauthFlowSnapshot(passed[1]);
      await store.commitMachineLifecycle(RUNTIME, lifecycle("running"), []);
      passed.forEach((bytes) => bytes.fill(0));
      for (let round = 0; round < 2; round += 1) {
        const snapshot = await store.loadSessionSnapshot(RUNTIME);
        assertSameBytes(snapshot, document);
        const flow = await store.loadAuthOauthFlowSnapshot();
        assertSameBytes(flow, Buffer.from("oauth"));
        const record = await store.loadMachineLifecycleRecord(RUNTIME);
        assertSameBytes(record, encodeLifecycleRecord(lifecycle("running")));
        for (const bytes of [snapshot, flow, record]) bytes?.fill(0);
      }
    }),

    testCase("a clear is idempotent and changes nothing but the snapshot", async ({ store }) => {
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 1) }, receipt(1, 0n), [inputState(1)], undefined);
      await store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), []);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(1));
      for (let round = 0; round < 2; round += 1) {
        await store.clearSessionSnapshot(RUNTIME);
        assertSame(await contentsOf(store, RUNTIME), {
          inputs: [inputState(1)],
          lifecycle: lifecycle("idle"),
          ops: opsSnapshot(1),
        });
        assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), receipt(1, 0n));
      }
    }),

    testCase("a conditional replace applies only when the expected bytes are the stored bytes", async ({ store }) => {
      const first = session(1, 3);
      const replace = (expected: Buffer, next: Buffer) =>
        store.replaceSessionSnapshotIfCurrent(RUNTIME, expected, next);
      assertEqual(await replace(first, session(1, 4)), false, "no snapshot is stored");
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: first });
      for (const other of [respelled(first), first.subarray(1), session(2, 3), Buffer.alloc(0)]) {
        assertEqual(await replace(other, session(1, 4)), false);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), first);
      }
      assertEqual(await replace(first, session(2, 1)), true);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(2, 1));
      assertEqual(await replace(first, first), false, "the first snapshot was replaced");
      await store.clearSessionSnapshot(RUNTIME);
      assertEqual(await replace(session(2, 1), first), false, "the snapshot was cleared");
    }),

    testCase("a conditional clear applies only when the expected bytes are the stored bytes", async ({ store }) => {
      const first = session(1, 3);
      const clear = (expected: Buffer) => store.clearSessionSnapshotIfCurrent(RUNTIME, expected);
      assertEqual(await clear(first), false, "no snapshot is stored");
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: first });
      for (const other of [respelled(first), first.subarray(1), session(2, 3), Buffer.alloc(0)]) {
        assertEqual(await clear(other), false);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), first);
      }
      assertEqual(await clear(first), true);
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
      assertEqual(await clear(first), false, "the snapshot was cleared");
    }),

    testCase("a document that is not a session is refused, and the stored snapshot stays", async ({ store }) => {
      for (const before of [undefined, session(1, 2)]) {
        if (before) await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: before });
        for (const [description, document] of INVALID_SESSIONS) {
          const error = await assertRefused(store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document }), {
            variant: "WriteFailed",
            reason: "INVALID_ARGUMENT",
            record: "session_delta",
          });
          assert.match(
            error.message,
            /^Store write failed: /,
            `${description}: expected a failed write, found ${error.message}`,
          );
          assertSameBytes(await store.loadSessionSnapshot(RUNTIME), before);
        }
      }
    }),

    testCase(
      "a replacement is validated before the expectation, even when the expectation does not hold",
      async ({ store }) => {
        const current = session(1, 1);
        const refusal = { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "replacement" } as const;
        for (const [, document] of INVALID_SESSIONS) {
          await assertRefused(store.replaceSessionSnapshotIfCurrent(RUNTIME, current, document), refusal);
        }
        await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: current });
        for (const [, document] of INVALID_SESSIONS) {
          await assertRefused(store.replaceSessionSnapshotIfCurrent(RUNTIME, session(2, 0), document), refusal);
          await assertRefused(store.replaceSessionSnapshotIfCurrent(RUNTIME, current, document), refusal);
        }
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), current);
      },
    ),

    testCase("a session id is accepted in every spelling that the reference reads", async ({ store }) => {
      const id = "0198f051-0000-7000-8000-00000000000a";
      for (const spelling of [id.toUpperCase(), id.replaceAll("-", ""), `{${id}}`, `urn:uuid:${id}`]) {
        const document = Buffer.from(session(10, 0).toString().replace(id, spelling));
        await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),
  ],
);
