import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { contents, refused, same, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

/** The same JSON as `document`, in other bytes. */
const respelled = (document: Buffer): Buffer => Buffer.from(` ${document.toString()}\n`);

const NO_SESSIONS: readonly (readonly [string, Buffer])[] = [
  ["nothing", Buffer.alloc(0)],
  ["no JSON", Buffer.from("session-data")],
  ["a text cut off", session(1, 1).subarray(0, -1)],
  ["a text with a tail", Buffer.concat([session(1, 1), Buffer.from("}")])],
  ["bytes that are no UTF-8", Buffer.concat([Buffer.from([0xff]), session(1, 1)])],
  ["a list", Buffer.from("[]")],
  ["no id", Buffer.from(session(1, 0).toString().replace('"id"', '"di"'))],
  ["an id that is no UUID", Buffer.from(session(1, 0).toString().replace('"id":"0', '"id":"x'))],
];

export const sessionChapter = chapter(
  "session",
  [],
  [
    step("a committed snapshot comes back to the byte", async ({ store }) => {
      const document = Buffer.from(
        session(1, 2)
          .toString()
          .replace(
            '"metadata":{}',
            '"metadata":{"zulu":1.50,"alpha":"\\u00e9\\/ \u{1f600}"} , "unknown" : [ 1E2 , -0 ]\t',
          ),
      );
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
      sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
    }),

    step("of nothing there is no snapshot, and clearing nothing is fine", async ({ store }) => {
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.clearSessionSnapshot(RUNTIME);
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    step("a commit replaces whatever is stored: longer, shorter, another session", async ({ store }) => {
      for (const document of [session(1, 1), session(1, 5), session(1, 2), session(2, 1), session(1, 0)]) {
        await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
        sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),

    step("a snapshot of several MiB comes back to the byte, and a smaller one after it", async ({ store }) => {
      for (const document of [session(1, 300, 10_000), session(1, 3)]) {
        await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
        sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),

    step("a large snapshot comes in pieces of at most 1 MiB that make up its length", ["versions"], async (context) => {
      const document = session(1, 250, 10_000);
      const { version } = await context.versioned.commitSessionSnapshot({
        runtimeId: RUNTIME,
        sessionDelta: { sessionSnapshot: document },
      });
      const loaded = await context.versioned.loadSessionSnapshot({ runtimeId: RUNTIME });
      assert.ok(loaded);
      same({ ...loaded, chunks: undefined }, { version, length: document.length, profile: "session" });
      const chunks: Uint8Array[] = [];
      for await (const chunk of loaded.chunks) chunks.push(chunk);
      assert.ok(chunks.every((chunk) => chunk.length <= 1 << 20));
      sameBytes(Buffer.concat(chunks), document);
    }),

    step("a buffer is the caller's again when the call has ended", async ({ store }) => {
      const document = session(1, 1);
      const handed = [Buffer.from(document), Buffer.from("oauth")] as const;
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: handed[0] });
      await store.persistAuthOauthFlowSnapshot(handed[1]);
      await store.commitMachineLifecycle(RUNTIME, lifecycle("running"), []);
      handed.forEach((bytes) => bytes.fill(0));
      for (let round = 0; round < 2; round += 1) {
        const snapshot = await store.loadSessionSnapshot(RUNTIME);
        sameBytes(snapshot, document);
        const flow = await store.loadAuthOauthFlowSnapshot();
        sameBytes(flow, Buffer.from("oauth"));
        const record = await store.loadMachineLifecycleRecord(RUNTIME);
        sameBytes(record, encodeLifecycleRecord(lifecycle("running")));
        for (const bytes of [snapshot, flow, record]) bytes?.fill(0);
      }
    }),

    step("clear is idempotent and touches nothing else", async ({ store }) => {
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 1) }, receipt(1, 0n), [inputState(1)], undefined);
      await store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), []);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(1));
      for (let round = 0; round < 2; round += 1) {
        await store.clearSessionSnapshot(RUNTIME);
        same(await contents(store, RUNTIME), {
          inputs: [inputState(1)],
          lifecycle: lifecycle("idle"),
          ops: opsSnapshot(1),
        });
        same(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), receipt(1, 0n));
      }
    }),

    step("replace-if-current compares bytes", async ({ store }) => {
      const first = session(1, 3);
      const replace = (expected: Buffer, next: Buffer) =>
        store.replaceSessionSnapshotIfCurrent(RUNTIME, expected, next);
      assert.equal(await replace(first, session(1, 4)), false, "nothing is stored");
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: first });
      for (const other of [respelled(first), first.subarray(1), session(2, 3), Buffer.alloc(0)]) {
        assert.equal(await replace(other, session(1, 4)), false);
        sameBytes(await store.loadSessionSnapshot(RUNTIME), first);
      }
      assert.equal(await replace(first, session(2, 1)), true);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(2, 1));
      assert.equal(await replace(first, first), false, "the first one is not current any more");
      await store.clearSessionSnapshot(RUNTIME);
      assert.equal(await replace(session(2, 1), first), false, "cleared");
    }),

    step("clear-if-current compares bytes", async ({ store }) => {
      const first = session(1, 3);
      const clear = (expected: Buffer) => store.clearSessionSnapshotIfCurrent(RUNTIME, expected);
      assert.equal(await clear(first), false, "nothing is stored");
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: first });
      for (const other of [respelled(first), first.subarray(1), session(2, 3), Buffer.alloc(0)]) {
        assert.equal(await clear(other), false);
        sameBytes(await store.loadSessionSnapshot(RUNTIME), first);
      }
      assert.equal(await clear(first), true);
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
      assert.equal(await clear(first), false, "cleared already");
    }),

    step("what is no session is refused, and the stored snapshot stays", async ({ store }) => {
      for (const before of [undefined, session(1, 2)]) {
        if (before) await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: before });
        for (const [what, document] of NO_SESSIONS) {
          const error = await refused(store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document }), {
            variant: "WriteFailed",
            reason: "INVALID_ARGUMENT",
            record: "session_delta",
          });
          assert.ok(error.message.startsWith("Store write failed: "), what);
          sameBytes(await store.loadSessionSnapshot(RUNTIME), before);
        }
      }
    }),

    step("a replacement is checked before the expectation, even where it would be missed", async ({ store }) => {
      const current = session(1, 1);
      const refusal = { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "replacement" } as const;
      for (const [, document] of NO_SESSIONS) {
        await refused(store.replaceSessionSnapshotIfCurrent(RUNTIME, current, document), refusal);
      }
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: current });
      for (const [, document] of NO_SESSIONS) {
        await refused(store.replaceSessionSnapshotIfCurrent(RUNTIME, session(2, 0), document), refusal);
        await refused(store.replaceSessionSnapshotIfCurrent(RUNTIME, current, document), refusal);
      }
      sameBytes(await store.loadSessionSnapshot(RUNTIME), current);
    }),

    step("the id of a session may be spelled in every way that the reference reads", async ({ store }) => {
      const id = "0198f051-0000-7000-8000-00000000000a";
      for (const spelling of [id.toUpperCase(), id.replaceAll("-", ""), `{${id}}`, `urn:uuid:${id}`]) {
        const document = Buffer.from(session(10, 0).toString().replace(id, spelling));
        await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
        sameBytes(await store.loadSessionSnapshot(RUNTIME), document);
      }
    }),
  ],
);
