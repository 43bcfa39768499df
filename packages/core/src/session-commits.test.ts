import { type RunBoundaryReceipt, StoreError, type TranscriptRewriteCommit } from "@bolthole/contract";
import { readRewriteCommit } from "@bolthole/json";
import { type EngineStore, createEngineStore } from "./engine-store.js";
import { MemoryEngine } from "./memory-engine.js";
import { acceptedId } from "./operations/sessions.js";
import {
  type SessionState,
  appended,
  digestOf,
  rewritten,
  sessionSpecimen,
  startedSession,
} from "./testing/session-state.js";
import { type Specimen, written } from "./testing/specimen.js";

const RUNTIME = { runtimeId: "rt:session:x" };

const user = (text: string): Specimen => ({
  kind: "struct",
  isOpen: true,
  members: [
    { name: "role", value: { kind: "text", text: "user" } },
    { name: "content", value: { kind: "text", text } },
    { name: "created_at", value: { kind: "time", text: "2026-05-28T15:31:27Z" } },
  ],
});
const document = (state: SessionState): Buffer => Buffer.from(written(sessionSpecimen(state)));
const lastCommit = ({ history }: SessionState): TranscriptRewriteCommit => {
  const commit = history?.commits[history.commits.length - 1];
  if (!commit) throw new Error("the session was never rewritten");
  return readRewriteCommit(written(commit));
};

let sequence = 0n;
const receipt = (): RunBoundaryReceipt => ({
  runId: "0198f0a0-0000-7000-8000-0000000000aa",
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 0n,
  sequence: sequence++,
});

const apply = (store: EngineStore, sessionSnapshot: Uint8Array, sessionStoreKey?: string): Promise<unknown> =>
  store.atomicApply({
    ...RUNTIME,
    sessionDelta: { sessionSnapshot },
    receipt: receipt(),
    inputUpdates: [],
    sessionStoreKey,
  });
const rewrite = (store: EngineStore, state: SessionState, commit = lastCommit(state)): Promise<unknown> =>
  store.commitSessionTranscriptRewriteSnapshot({
    ...RUNTIME,
    sessionDelta: { sessionSnapshot: document(state) },
    commit,
  });
const commit = (store: EngineStore, sessionSnapshot: Uint8Array): Promise<unknown> =>
  store.commitSessionSnapshot({ ...RUNTIME, sessionDelta: { sessionSnapshot } });

async function stored(store: EngineStore): Promise<Buffer | undefined> {
  const loaded = await store.loadSessionSnapshot(RUNTIME);
  if (!loaded) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of loaded.chunks) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function refusal(call: Promise<unknown>): Promise<Partial<StoreError>> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof StoreError)) throw new Error(`expected a refusal, found ${String(error)}`);
  const { variant, reason, message, subject } = error;
  return { variant, reason, message, subject };
}

const FIRST = startedSession([user("a"), user("b")]);
let store: EngineStore;
beforeEach(() => {
  store = createEngineStore(new MemoryEngine());
});

test.each([1, 60_000])(
  "a document that appends messages is stored, and one that removes a message is refused (texts of %d)",
  async (size) => {
    const first = startedSession([user("a".repeat(size)), user("b".repeat(10 * size))]);
    const longer = appended(first, [user("c")]);
    await apply(store, document(first));
    await apply(store, document(longer), FIRST.id);
    expect(await refusal(apply(store, document(first)))).toMatchObject({
      variant: "WriteFailed",
      reason: "TRANSCRIPT_REJECTED",
      message:
        `Store write failed: session ${FIRST.id} save rejected: new message count 2 is shorter than previously ` +
        "persisted 3 without transcript-continuity proof",
    });
    expect((await stored(store))?.equals(document(longer))).toBe(true);
    await commit(store, document(first));
    expect((await stored(store))?.equals(document(first))).toBe(true);
  },
);

test("a rewrite is stored with its commit, and refused over another parent", async () => {
  await apply(store, document(FIRST));
  const compacted = rewritten(FIRST, 0, 2, [user("summary")]);
  await rewrite(store, compacted);
  expect((await stored(store))?.equals(document(compacted))).toBe(true);
  const [expected, actual] = [digestOf(FIRST.messages), digestOf(compacted.messages)];
  expect(await refusal(rewrite(store, compacted))).toMatchObject({
    variant: "TranscriptRevisionConflict",
    reason: "TRANSCRIPT_REVISION_CONFLICT",
    message: `Transcript revision conflict: expected ${expected}, actual ${actual}`,
    subject: { expected, actual, runtimeId: RUNTIME.runtimeId },
  });
  await apply(store, document(appended(compacted, [user("c")])));
});

test("a rewrite needs a stored document, and its commit in the new one", async () => {
  const compacted = rewritten(FIRST, 0, 2, [user("summary")]);
  const text = `Store write failed: session ${FIRST.id} rewrite rejected: `;
  expect((await refusal(rewrite(store, compacted))).message).toBe(
    `${text}rewrite target has no previously persisted session`,
  );
  await apply(store, document(FIRST));
  const other = { ...lastCommit(compacted), actor: "someone" };
  expect((await refusal(rewrite(store, compacted, other))).message).toBe(
    `${text}incoming rewrite did not persist the rewrite commit in the transcript graph (wanted ${other.parentRevision} -> ` +
      `${other.revision}, graph commits: [("${other.parentRevision}", "${other.revision}")])`,
  );
  expect((await stored(store))?.equals(document(FIRST))).toBe(true);
});

test("a document is checked before its key, and the key before the transcript", async () => {
  await apply(store, document(FIRST));
  const key = "0198f0a0-0000-7000-8000-0000000000ff";
  const shorter = document(startedSession([]));
  expect(await refusal(apply(store, shorter, key))).toMatchObject({ variant: "SessionKeyMismatch" });
  expect(await refusal(apply(store, Buffer.from("{}"), key))).toMatchObject({
    variant: "WriteFailed",
    reason: "INVALID_ARGUMENT",
    message:
      "Store write failed: session_delta.id: the document is not a session: " +
      "the member is missing, and so are messages, created_at and updated_at (byte 1); " +
      'the profile "opaque" accepts any bytes',
  });
  const future = Buffer.from(document(FIRST).toString().replace('"version":2', '"version":3'));
  expect(await refusal(commit(store, future))).toMatchObject({
    reason: "RECORD_REJECTED",
    message:
      "Store write failed: generated session persistence version authority rejected SessionEnvelope: " +
      "expected current 2 or legacy 1, got 3",
  });
});

test("opaque bytes follow only the rules of their profile", async () => {
  const opaque = (text: string) => ({ sessionSnapshot: Buffer.from(text), profile: "opaque" }) as const;
  const applyOpaque = (text: string) =>
    store.atomicApply({
      ...RUNTIME,
      sessionDelta: opaque(text),
      receipt: receipt(),
      inputUpdates: [],
      sessionStoreKey: undefined,
    });
  await applyOpaque("no session at all");
  await applyOpaque("less");
  expect((await stored(store))?.toString()).toBe("less");
  expect(await refusal(rewrite(store, rewritten(FIRST, 0, 2, [])))).toMatchObject({ reason: "PROFILE_MISMATCH" });
});

test("a stored document that is not a session is a read failure with the id of the runtime", () => {
  const finding = {
    kind: "unreadable previous",
    id: FIRST.id,
    why: { path: "messages[3]", reason: "role is missing", offset: 7, isRule: false },
  } as const;
  expect(() => acceptedId(finding, "session_delta", "rt:session:x")).toThrow(
    "Store read failed: the stored session snapshot of rt:session:x is not a session: messages[3]: role is missing",
  );
});
