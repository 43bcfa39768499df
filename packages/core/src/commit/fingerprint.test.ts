import crypto, { createHash, hash } from "node:crypto";
import type {
  ExpectedVersion,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  StoredInputState,
  UpdateAuthOauthFlowSnapshot,
} from "@bolthole/contract";
import { encodeLifecycleRecord, isMutation, storeCodecs } from "@bolthole/contract/wire";
import { readRewriteCommit } from "@bolthole/json";
import { type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { rewritten, sessionSpecimen, startedSession } from "../testing/session-state.js";
import { type Specimen, written } from "../testing/specimen.js";
import { type RequestArguments, argumentsOf, fingerprint } from "./fingerprint.js";
import { decodeOutcome } from "./outcome.js";
import { verifiedValue } from "./row.js";

/*
 * Outcomes on the disk hold the fingerprints of their requests. A client may repeat a request after an upgrade, so the
 * fingerprint of a request must never change. The values below were computed by the first released form of the code.
 */

const EPOCH = "0e0c0000";
const RUN = "0198f0a0-0000-7000-8000-0000000000c1";
const NOW = "2026-05-28T15:31:27Z";
const idOf = (serial: number): string => `0198f01a-0000-7000-8000-${String(serial).padStart(12, "0")}`;
const versionOf = (sequence: number): string => `${EPOCH}.${String(sequence)}`;

const input = (serial: number, attemptCount = 0): StoredInputState => ({
  inputId: idOf(serial),
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
const receipt: RunBoundaryReceipt = {
  runId: RUN,
  boundary: "run_start",
  contributingInputIds: [idOf(7)],
  messageCount: 3n,
  sequence: 5n,
};
const ops: PersistedOpsSnapshot = {
  epochId: idOf(9),
  authorityState: {
    operations: {},
    completionFeedEntries: {},
    completedOrder: [],
    maxCompleted: 1n,
    activeCount: 0n,
    waitOperationIds: [],
    nextCompletionSeq: 2n,
  },
  operationSpecs: {},
  completionEntries: [],
  cursors: { agentAppliedCursor: 1n, runtimeObservedSeq: 2n, runtimeLastInjectedSeq: 3n },
};
const user = (text: string): Specimen => ({
  kind: "struct",
  isOpen: true,
  members: [
    { name: "role", value: { kind: "text", text: "user" } },
    { name: "content", value: { kind: "text", text } },
    { name: "created_at", value: { kind: "time", text: NOW } },
  ],
});
const record = (fenceToken: bigint): Uint8Array =>
  Buffer.from(encodeLifecycleRecord({ runtimeState: "idle", binding: { fenceToken } }));
const first = startedSession([user("a"), user("b")]);
const compacted = rewritten(first, 0, 2, [user("summary")]);
const session = Buffer.from(written(sessionSpecimen(first)));
const opaque = Buffer.from("the first opaque document");
const sha256 = createHash("sha256").update(opaque).digest();

const runtimeId = "rt:fingerprints";
const whole = { sessionSnapshot: opaque, profile: "opaque" } as const;

interface Called {
  readonly requestId: string;
}
type Call = (store: EngineStore, called: Called) => Promise<unknown>;

/** Commits the snapshot that the call expects, as the first commit of the store: its version ends in 1. */
const over =
  (sessionSnapshot: Buffer, call: Call): Call =>
  async (store, called) => {
    const profile = sessionSnapshot === opaque ? "opaque" : "session";
    await store.commitSessionSnapshot({ runtimeId, sessionDelta: { sessionSnapshot, profile } });
    return call(store, called);
  };

async function* inOneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

const CALLS: readonly [name: string, fingerprint: string, call: Call][] = [
  [
    "PersistAuthOauthFlowSnapshot",
    "225d5c84ce03932fc1d84e1298b3ba059494f43dfa8427e2479a0130ffd77bac",
    (store, called) => store.persistAuthOauthFlowSnapshot({ ...called, snapshot: Buffer.from("flows") }),
  ],
  [
    "UpdateAuthOauthFlowSnapshot over nothing",
    "2c35e3872fa0f5b1bae722278d477218c3b43349041c6d75c3c064f58581943f",
    (store, called) =>
      store.updateAuthOauthFlowSnapshot({ ...called, expected: undefined, snapshot: Buffer.from("flows") }),
  ],
  [
    "UpdateAuthOauthFlowSnapshot over a version",
    "927896d4218421669b152af334144a2874d99b1a6663d42d55194fc9801bc5ee",
    async (store, called) => {
      await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("flows") });
      return store.updateAuthOauthFlowSnapshot({ ...called, expected: versionOf(1), snapshot: Buffer.from("more") });
    },
  ],
  [
    "CommitSessionSnapshot of a whole document",
    "30b7a2694609884a5cc6de0fde55e41ee1f32c3e4f089cede6dee9bcc34eb9d2",
    (store, called) => store.commitSessionSnapshot({ ...called, runtimeId, sessionDelta: whole }),
  ],
  [
    "CommitSessionSnapshot without a profile",
    "cbdc8fc277b4ecffc38cecaa6c60d9b57c3894bb5e93aa7a040e94b9e7351bf4",
    (store, called) =>
      store.commitSessionSnapshot({ ...called, runtimeId, sessionDelta: { sessionSnapshot: session } }),
  ],
  [
    "CommitSessionSnapshot of a patch",
    "a340a81c28bd19ae37c8495848431aeb358d2d53a0284476855f4750591006bf",
    over(opaque, (store, called) =>
      store.commitSessionSnapshot({
        ...called,
        runtimeId,
        sessionDelta: {
          patch: {
            baseVersion: versionOf(1),
            resultLength: 8,
            resultCrc32: 0xd56b_85f8,
            pieces: [{ offset: 0, length: 4 }, Buffer.from("new!")],
          },
        },
      }),
    ),
  ],
  [
    "CommitSessionSnapshot of an upload",
    "577e0fafd48bd352df77430c19ee4d4ae54d1ea6c9d6e022b0963e3943b81a99",
    async (store, called) => {
      const uploadId = "0198f0a0-0000-4000-8000-0000000000ab";
      const uuid = jest.spyOn(crypto, "randomUUID").mockReturnValue(uploadId);
      const upload = { runtimeId, length: opaque.length, sha256, chunks: inOneChunk(opaque) };
      expect(await store.uploadSessionSnapshot(upload)).toBe(uploadId);
      uuid.mockRestore();
      return store.commitSessionSnapshot({ ...called, runtimeId, sessionDelta: { uploadId, profile: "opaque" } });
    },
  ],
  [
    "CommitSessionSnapshot with expectations",
    "8eeb91bcb37bd66f6edc59b1c5e73b4606c56cc2d59b93c5c3788f76f090bf5f",
    async (store, called) => {
      await store.commitMachineLifecycle({ runtimeId, record: record(7n), inputStates: [input(1)] });
      return store.commitSessionSnapshot({
        ...called,
        runtimeId,
        expectedFenceToken: 7n,
        expectedVersions: [
          { record: "machine_lifecycle", version: versionOf(1) },
          { record: "input_state", inputId: idOf(1), version: versionOf(1) },
          { record: "session_snapshot", version: undefined },
        ],
        sessionDelta: whole,
      });
    },
  ],
  [
    "CommitSessionTranscriptRewriteSnapshot",
    "543a32049669b4013807a3c04119567200a1feef699ad39424f6eaf3210f3014",
    over(session, (store, called) => {
      const commit = compacted.history?.commits.at(-1);
      return store.commitSessionTranscriptRewriteSnapshot({
        ...called,
        runtimeId,
        sessionDelta: { sessionSnapshot: Buffer.from(written(sessionSpecimen(compacted))) },
        commit: readRewriteCommit(written(commit ?? user(""))),
      });
    }),
  ],
  [
    "AtomicApply without a session",
    "111dddb918b0347caeeba4a0e000ef35fe89ee161def64531ca3ca9ca2cbb315",
    (store, called) =>
      store.atomicApply({
        ...called,
        runtimeId,
        sessionDelta: undefined,
        receipt,
        inputUpdates: [],
        sessionStoreKey: undefined,
      }),
  ],
  [
    "AtomicApply with everything",
    "d3482f32d7c4fffdfb46ad9650a64cde787dfdd32507ff9df6cecd137ac0aeb9",
    async (store, called) => {
      await store.persistInputState({ runtimeId, state: input(1) });
      return store.atomicApply({
        ...called,
        runtimeId,
        expectedVersions: [{ record: "input_state", inputId: idOf(1), version: versionOf(1) }],
        sessionDelta: { sessionSnapshot: session, profile: "session" },
        receipt,
        inputUpdates: [input(2), input(1, 1), input(2, 2)],
        unchangedInputs: { inputsVersion: versionOf(1) },
        sessionStoreKey: first.id,
      });
    },
  ],
  [
    "AtomicApply of an input upload",
    "639cff5e68bee30ba0c836223d89274ff6dbc023387f468e3ef69b467d4608e4",
    async (store, called) => {
      const parts = (async function* () {
        yield await Promise.resolve([input(1), input(2)]);
      })();
      const inputUploadId = await store.uploadInputStates({ runtimeId, rowCount: 2, parts });
      return store.atomicApply({
        ...called,
        runtimeId,
        sessionDelta: undefined,
        receipt,
        inputUpdates: [],
        inputUploadId,
        sessionStoreKey: undefined,
      });
    },
  ],
  [
    "ClearSessionSnapshot",
    "9eeddb946001ee2f4a9bb5a59e6a9ec3a85adcc3a9d256fe52d7fc0b5eff1b8b",
    over(opaque, (store, called) => store.clearSessionSnapshot({ ...called, runtimeId })),
  ],
  [
    "ReplaceSessionSnapshotIfCurrent over a version",
    "ac9efb487d7587e4b0be59ee14ae52a67a91b1e571fd89dd7cb0a32eaee27bc9",
    over(opaque, (store, called) =>
      store.replaceSessionSnapshotIfCurrent({
        ...called,
        runtimeId,
        expected: { version: versionOf(1) },
        replacement: whole,
      }),
    ),
  ],
  [
    "ReplaceSessionSnapshotIfCurrent over a SHA-256",
    "5d6e804e58848ae623d3c71cb48da931ac620fb6d70cdbe79243c0f6f5b18b8c",
    over(opaque, (store, called) =>
      store.replaceSessionSnapshotIfCurrent({ ...called, runtimeId, expected: { sha256 }, replacement: whole }),
    ),
  ],
  [
    "ClearSessionSnapshotIfCurrent over a version",
    "cbb87b163ae7874b56c5420613f4bdadcae1439bf1c3e6f15efb4e74db45ea28",
    over(opaque, (store, called) =>
      store.clearSessionSnapshotIfCurrent({ ...called, runtimeId, expected: { version: versionOf(1) } }),
    ),
  ],
  [
    "ClearSessionSnapshotIfCurrent over a document",
    "729b2b89bca0dd3c211ff75d86b10db9daf5126e7ccf81afa9ff6d0a5849b136",
    over(opaque, (store, called) =>
      store.clearSessionSnapshotIfCurrent({ ...called, runtimeId, expected: { document: opaque } }),
    ),
  ],
  [
    "PersistInputState",
    "30e132d571f8bc6eadb945998fdbb9adcde8d8f9ea6c07b293d595db0d74de94",
    (store, called) => store.persistInputState({ ...called, runtimeId, state: input(1) }),
  ],
  [
    "CommitMachineLifecycle",
    "98114eeea2272f6c812f0561d045a0605e7d91268fe4263cf4c4d395c9c4a336",
    (store, called) =>
      store.commitMachineLifecycle({
        ...called,
        runtimeId,
        record: record(1n),
        inputStates: [input(2), input(1)],
      }),
  ],
  [
    "CommitMachineLifecycle with unchanged inputs",
    "bad1151e8acdbba170b62de0027dd77d3c88ddc9da8692574202389677214ec8",
    async (store, called) => {
      await store.persistInputState({ runtimeId, state: input(1) });
      return store.commitMachineLifecycle({
        ...called,
        runtimeId,
        record: record(1n),
        inputStates: [],
        unchangedInputs: { inputsVersion: versionOf(1) },
      });
    },
  ],
  [
    "PersistOpsLifecycle",
    "a63e444ec7827de023724f097963630c98984f032ce60aaaa424cfc694fb8b01",
    (store, called) => store.persistOpsLifecycle({ ...called, runtimeId, snapshot: ops }),
  ],
  [
    "DeleteOpsLifecycle",
    "a551ed7704e28c1bda4bb23608161ebdb23c4756380572460f16517bc7c87842",
    (store, called) => store.deleteOpsLifecycle({ ...called, runtimeId }),
  ],
  [
    "DeleteRuntime",
    "0064f69fc17535af0bdeaf579f7137fea67c1c51a9f96a0bb9bbbb0a94c1e84c",
    (store, called) => store.deleteRuntime({ ...called, runtimeId }),
  ],
];

test.each(CALLS)("the fingerprint of %s stays what it was", async (_name, expected, call) => {
  const engine = Object.assign(new MemoryEngine(), { epoch: EPOCH });
  const requestId = "0198f0a0-0000-7000-8000-0000000000ff";
  await call(createEngineStore(engine), { requestId });
  const key = { table: "outcome", requestId } as const;
  const row = await engine.view((view) => view.get(key));
  const outcome = row && decodeOutcome(verifiedValue(key, row));
  expect(outcome).toMatchObject({ state: "applied" });
  const fingerprint = outcome?.state === "applied" ? outcome.fingerprint : Buffer.of();
  expect(Buffer.from(fingerprint).toString("hex")).toBe(expected);
});

test("every mutation has a pinned fingerprint", () => {
  const pinned = new Set(CALLS.map(([name]) => name.split(" ")[0]));
  const mutations = Object.values(storeCodecs).flatMap(({ method }) => (isMutation(method) ? [method.name] : []));
  expect(mutations.filter((name) => !pinned.has(name))).toEqual([]);
});

test("a field of a request without its canonical form does not compile", async () => {
  const complete: RequestArguments<UpdateAuthOauthFlowSnapshot> = { expected: undefined, snapshot: opaque };
  // @ts-expect-error -- `expected` is missing
  const missing: RequestArguments<UpdateAuthOauthFlowSnapshot> = { snapshot: opaque };
  // @ts-expect-error -- the version is missing
  argumentsOf<ExpectedVersion>({ record: "input_state", inputId: idOf(1) });
  const request = { snapshot: opaque, expected: undefined };
  const of = async (args: RequestArguments<UpdateAuthOauthFlowSnapshot>): Promise<string> =>
    Buffer.from(await fingerprint<UpdateAuthOauthFlowSnapshot>({ method: "Method", request, args })).toString("hex");
  expect(await of(complete)).not.toBe(await of(missing));
});

test("the fingerprint of many arguments is the SHA-256 of all of them in order", async () => {
  const contributingInputIds = Array.from({ length: 1000 }, (_, index) => `argument ${String(index)}`);
  const args = { snapshot: contributingInputIds, expected: undefined };
  const request = { snapshot: opaque, expected: undefined };
  const framed = ["Method", ...contributingInputIds, undefined].flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeInt32LE(part === undefined ? -1 : Buffer.byteLength(part));
    return [length, Buffer.from(part ?? "")];
  });
  const expected = hash("sha256", Buffer.concat(framed), "hex");
  const actual = await fingerprint<UpdateAuthOauthFlowSnapshot>({ method: "Method", request, args });
  expect(Buffer.from(actual).toString("hex")).toBe(expected);
});
