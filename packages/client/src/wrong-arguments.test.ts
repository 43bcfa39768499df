import { status } from "@grpc/grpc-js";
import type { MachineLifecycle, PersistedOpsSnapshot, TranscriptRewriteCommit } from "@bolthole/contract";
import { RuntimeStoreAdapter, StoreError } from "@bolthole/contract";
import { encodeLifecycleRecord, type storeCodecs } from "@bolthole/contract/wire";
import { inputId, inputState } from "@bolthole/core/testing";
import { type BoltholeStore, connect } from "./connect.js";
import { EMPTY_STORE_ID, type EmptyDaemon, startEmptyDaemon } from "./testing/empty-daemon.js";

/** Values that are wrong for almost every argument. */
const WRONG: readonly unknown[] = [
  ...[undefined, null, true, 0, -1, 0.5, Number.NaN, Infinity, 1e15, 1n, -1n, 2n ** 64n],
  ...["", "5000", "\ud800", Symbol("text"), () => 1, [], ["x"], {}, new Date(0), new Map()],
  ...[new Uint16Array(2), new ArrayBuffer(4), new DataView(new ArrayBuffer(4)), Buffer.from("bytes")],
];

let daemon: EmptyDaemon;
let store: BoltholeStore;
beforeAll(async () => {
  daemon = await startEmptyDaemon({ code: status.UNIMPLEMENTED, details: "it has arrived" });
  store = await connect(daemon.target);
});
afterAll(async () => {
  await store.close();
  daemon.end();
});

type AnyMethod = (...args: readonly unknown[]) => Promise<unknown>;

/** Whether a value may be sent: it has the type of the right one. The server decides then. */
function isOfSameType(wrong: unknown, right: unknown): boolean {
  if (typeof wrong !== typeof right || typeof wrong === "object" || typeof wrong === "function") return false;
  if (typeof wrong === "string") return wrong.isWellFormed();
  if (typeof wrong === "bigint") return wrong >= 0n && wrong < 2n ** 64n;
  if (typeof wrong === "number") return Number.isInteger(wrong) && wrong >= 0;
  return true;
}

/** Whether a right value may be absent, be an empty list, or have members of any name. */
type Leeway = "optional" | "list" | "none";

/** Yields every copy of a value in which one part is replaced by a wrong value that no call accepts. */
function* variants(right: unknown, path: string, leeway: Leeway): Generator<readonly [string, unknown]> {
  for (const wrong of WRONG) {
    const isAccepted =
      isOfSameType(wrong, right) ||
      (leeway === "optional" && wrong === undefined) ||
      (Array.isArray(right) && Array.isArray(wrong) && wrong.every((one) => typeof one === typeof right[0])) ||
      ((MAY_BE_EMPTY.test(path) || right === NOTHING) && Object.getPrototypeOf(wrong ?? 0) === Object.prototype) ||
      (right instanceof Uint8Array && wrong instanceof Uint8Array);
    if (!isAccepted) yield [`${path} = ${typeof wrong} ${typeof wrong === "symbol" ? "" : String(wrong)}`, wrong];
  }
  if (typeof right !== "object" || right === null || right instanceof Uint8Array || Symbol.asyncIterator in right)
    return;
  for (const [name, member] of Object.entries(right)) {
    const inner = OPTIONAL.has(name) ? "optional" : "none";
    for (const [where, wrong] of variants(member, `${path}.${name}`, inner)) {
      const copy: unknown = Array.isArray(right)
        ? right.map((one, at) => (String(at) === name ? wrong : one) as unknown)
        : { ...right, [name]: wrong };
      yield [where, copy];
    }
  }
}

/** A request without members. */
const NOTHING = {};

/** Objects all of whose members may be absent. */
const MAY_BE_EMPTY = /(binding|operations|completionFeedEntries|operationSpecs|options)$/;

/** Members that may be absent. */
const OPTIONAL = new Set(
  (
    "requestId expectedStoreId expectedFenceToken expectedVersions record inputUploadId unchangedInputs sessionStoreKey " +
    "eachOutcome profile inputId conversationDigest snapshot fenceToken agentRuntimeId versions binding timeoutMs signal " +
    "deadline expected opsDelta idempotencyKey persistedInput policy createdAt updatedAt admissionSequence note actor " +
    "maxConcurrent waitRequestId version state terminalOutcome durability history_reason sessionDelta"
  ).split(" "),
);

/** Expects that a call is refused, names its argument, and sends nothing. */
async function expectRefused(where: string, call: () => Promise<unknown>): Promise<void> {
  const before = daemon.arrived();
  let promise: Promise<unknown>;
  try {
    promise = call();
  } catch (error) {
    throw new Error(`${where}: thrown outside the promise: ${String(error)}`, { cause: error });
  }
  const failure: unknown = await promise.then(
    () => "resolved",
    (error: unknown) => error,
  );
  if (!(failure instanceof StoreError) || failure.reason !== "INVALID_ARGUMENT" || daemon.arrived() !== before) {
    const text = failure instanceof Error ? (failure.stack ?? failure.message) : String(failure);
    throw new Error(
      `${where}: expected INVALID_ARGUMENT before sending; sent ${String(daemon.arrived() - before)}; found ${text}`,
    );
  }
  expect([where, failure.applied]).toEqual([where, "no"]);
  expect([where, failure.subject.record ?? ""]).not.toEqual([where, ""]);
}

async function* chunks(): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(Buffer.from("{}"));
}
const source = { [Symbol.asyncIterator]: chunks };
async function* rows(): AsyncGenerator<readonly object[]> {
  yield await Promise.resolve([row]);
}

const mutation = { requestId: "0198f0a0-0000-7000-8000-000000000001", expectedStoreId: EMPTY_STORE_ID };
const of = { runtimeId: "rt" };
const change = {
  ...of,
  ...mutation,
  expectedFenceToken: 1n,
  expectedVersions: [{ record: "input_state", inputId: inputId(1), version: "e.1" }],
};
const receipt = {
  runId: inputId(7),
  boundary: "run_start",
  contributingInputIds: [inputId(1)],
  conversationDigest: "d",
  messageCount: 1n,
  sequence: 1n,
} as const;
const { inputId: id, currentState, history } = inputState(1);
const row = { ...inputState(1), inputId: id, currentState, history };
const document = { sessionSnapshot: Buffer.from("{}"), profile: "opaque" } as const;
const lifecycle: MachineLifecycle = { runtimeState: "idle", binding: { fenceToken: 1n, agentRuntimeId: "a" } };
const commit: TranscriptRewriteCommit = {
  parentRevision: "sha256:1",
  revision: "sha256:2",
  selection: { kind: "message_range", start: 0n, end: 1n },
  originalSpanDigest: "sha256:3",
  replacementDigest: "sha256:4",
  messagesBefore: 1n,
  messagesAfter: 1n,
  reason: { kind: "compaction", note: "n" },
  actor: "a",
  committedAt: { seconds: 1n, nanos: 1 },
};
const ops: PersistedOpsSnapshot = {
  epochId: inputId(1),
  authorityState: {
    operations: {},
    completionFeedEntries: {},
    completedOrder: [],
    maxCompleted: 256n,
    activeCount: 0n,
    waitOperationIds: [],
    nextCompletionSeq: 1n,
  },
  operationSpecs: {},
  completionEntries: [],
  cursors: { agentAppliedCursor: 0n, runtimeObservedSeq: 0n, runtimeLastInjectedSeq: 0n },
};
const record = encodeLifecycleRecord(lifecycle);
const patch = { baseVersion: "e.1", resultLength: 2, resultCrc32: 1, pieces: [{ offset: 0, length: 2 }] };
const unchangedInputs = { inputsVersion: "e.1" };

/** A right request of each method of `VersionedStore`. */
const REQUESTS: Readonly<Record<keyof typeof storeCodecs, object>> = {
  authAuthorityKey: NOTHING,
  persistAuthOauthFlowSnapshot: { ...mutation, snapshot: Buffer.from("x") },
  loadAuthOauthFlowSnapshot: NOTHING,
  updateAuthOauthFlowSnapshot: { ...mutation, expected: "e.1", snapshot: Buffer.from("x") },
  commitSessionSnapshot: { ...change, sessionDelta: document },
  commitSessionTranscriptRewriteSnapshot: { ...change, sessionDelta: document, commit },
  atomicApply: {
    ...change,
    sessionDelta: document,
    receipt,
    inputUpdates: [row],
    unchangedInputs,
    sessionStoreKey: id,
  },
  loadInputStates: { ...of, eachOutcome: true },
  loadBoundaryReceipt: { ...of, runId: id, sequence: 1n },
  loadSessionSnapshot: of,
  uploadSessionSnapshot: { ...of, length: 2, sha256: Buffer.alloc(32), chunks: source },
  uploadInputStates: { ...of, rowCount: 1, parts: { [Symbol.asyncIterator]: rows } },
  clearSessionSnapshot: change,
  replaceSessionSnapshotIfCurrent: { ...change, expected: { version: "e.1" }, replacement: document },
  clearSessionSnapshotIfCurrent: { ...change, expected: { document: Buffer.from("{}") } },
  persistInputState: { ...change, state: row },
  loadInputState: { ...of, inputId: id },
  loadMachineLifecycleRecord: of,
  commitMachineLifecycle: { ...change, record, inputStates: [row], unchangedInputs },
  persistOpsLifecycle: { ...change, opsDelta: { opsSnapshot: Buffer.from("{}") } },
  loadOpsLifecycle: of,
  loadOpsLifecycleJson: of,
  deleteOpsLifecycle: change,
  deleteRuntime: change,
  listRuntimes: { pageSize: 1, pageToken: "" },
  getCommit: { requestId: id, seal: true },
  getServerInfo: NOTHING,
};

/** An optional member that takes the place of the whole is the server's decision. */
const SERVER_DECIDES = /^(request\.(expected|sessionDelta|state|opsDelta) = undefined)/;

test.each(Object.entries(REQUESTS))(
  "versioned.%s refuses every wrong argument before it sends anything",
  async (name, request) => {
    const method = store.versioned[name as keyof typeof REQUESTS] as AnyMethod;
    for (const [where, wrong] of variants(request, "request", "none")) {
      if (!SERVER_DECIDES.test(where)) await expectRefused(where, () => method(wrong));
    }
    const call = { signal: new AbortController().signal, deadline: Date.now() + 10_000 };
    for (const [where, wrong] of variants(call, "call", "optional")) {
      // Any time is a deadline: one that has passed is reported as such.
      if (/deadline = number (?!NaN)|call = object/.test(where)) continue;
      await expectRefused(where, () => method(request, wrong));
    }
    await expect(store.versioned.getServerInfo({})).resolves.toMatchObject({ storeId: EMPTY_STORE_ID });
  },
);

/** Objects whose members have names of the caller's choice. */
const HAS_ANY_NAMES = /\.(operations|completionFeedEntries|operationSpecs)$/;

/** Yields every copy of a value in which one object has one more member, with the path of the object. */
function* misspelled(right: unknown, path: string): Generator<readonly [string, unknown]> {
  if (typeof right !== "object" || right === null || right instanceof Uint8Array || Symbol.asyncIterator in right)
    return;
  if (!Array.isArray(right) && !HAS_ANY_NAMES.test(path)) yield [path, { ...right, misspelled: 1 }];
  for (const [name, member] of Object.entries(right)) {
    for (const [where, wrong] of misspelled(member, `${path}.${name}`)) {
      const copy: unknown = Array.isArray(right)
        ? right.map((one, at) => (String(at) === name ? wrong : one) as unknown)
        : { ...right, [name]: wrong };
      yield [where, copy];
    }
  }
}

/** Requests with every kind of record, beside those of `REQUESTS`. */
const OTHER_REQUESTS: readonly (readonly [keyof typeof storeCodecs, object])[] = [
  ...[
    { kind: "consumed" },
    { kind: "superseded", supersededBy: id },
    { kind: "coalesced", aggregateId: id },
    { kind: "abandoned", reason: { kind: "cancelled" } },
    { kind: "abandoned", reason: { kind: "max_attempts_exhausted", attempts: 1 } },
  ].map((terminalOutcome) => ["persistInputState", { ...change, state: { ...row, terminalOutcome } }] as const),
  ...[
    { kind: "projection", ruleId: "r", sourceEventId: "e" },
    { kind: "coalescing", sourceInputIds: [id] },
  ].map(
    (reconstructionSource) => ["persistInputState", { ...change, state: { ...row, reconstructionSource } }] as const,
  ),
  ...[{ uploadId: "u" }, { patch }].map(
    (sessionDelta) => ["commitSessionSnapshot", { ...change, sessionDelta }] as const,
  ),
  ...[{ uploadId: "u" }, { patch }].map((opsDelta) => ["persistOpsLifecycle", { ...change, opsDelta }] as const),
  ["persistOpsLifecycle", { ...change, snapshot: ops }],
  ...[{ version: "e.1" }, { sha256: Buffer.alloc(32) }].map(
    (expected) => ["clearSessionSnapshotIfCurrent", { ...change, expected }] as const,
  ),
];

test.each([...Object.entries(REQUESTS), ...OTHER_REQUESTS])(
  "versioned.%s refuses a member that does not exist, wherever it is",
  async (name, request) => {
    const method = store.versioned[name as keyof typeof REQUESTS] as AnyMethod;
    // The request itself is right.
    expect(await method(request).catch((error: unknown) => error)).not.toMatchObject({ reason: "INVALID_ARGUMENT" });
    for (const [where, wrong] of misspelled(request, "request")) {
      await expectRefused(where, () => method(wrong));
      await expect(method(wrong)).rejects.toMatchObject({
        subject: { record: expect.stringMatching(/(^|\.)misspelled$/) as unknown },
      });
    }
  },
);

test("a row or a piece of an upload is refused for a member that does not exist", async () => {
  daemon.silence();
  try {
    for (const [part, record] of [
      [[{ ...row, misspelled: 1 }], "states[0].misspelled"],
      [{ length: 4, bytes: Buffer.from("rows"), misspelled: 1 }, "piece.misspelled"],
    ] as const) {
      async function* parts(): AsyncGenerator<never> {
        yield (await Promise.resolve(part)) as never;
      }
      const upload = store.versioned.uploadInputStates({ ...of, rowCount: 1, parts: parts() });
      await expect(upload).rejects.toMatchObject({ reason: "INVALID_ARGUMENT", subject: { record }, applied: "no" });
    }
  } finally {
    daemon.answer();
  }
});

test("a document or an expected document of two kinds is refused, and a member that is undefined is not", async () => {
  const two = { ...change, sessionDelta: { sessionSnapshot: Buffer.from("{}"), uploadId: "u" } };
  await expectRefused("two contents", () => store.versioned.commitSessionSnapshot(two as never));
  const both = { ...change, expected: { version: "e.1", sha256: Buffer.alloc(32) } };
  await expectRefused("two expectations", () => store.versioned.clearSessionSnapshotIfCurrent(both as never));
  const loaded = { ...of, misspelled: undefined };
  await expect(store.versioned.loadMachineLifecycleRecord(loaded)).rejects.toMatchObject({ reason: "UNSUPPORTED" });
});

test("withExpectations refuses every wrong value, and names the member", () => {
  const version = { record: "input_state", inputId: id, version: "e.1" } as const;
  const right = { fenceToken: 1n, versions: [version] };
  const isText = (wrong: unknown): boolean => typeof wrong === "string" && wrong.isWellFormed();
  const isEmpty = (wrong: unknown): boolean => Array.isArray(wrong) && wrong.length === 0;
  const places: readonly (readonly [string, (wrong: unknown) => unknown, (wrong: unknown) => boolean])[] = [
    // An object without members has no conditions.
    ["expectations", (wrong) => wrong, (wrong) => Object.getPrototypeOf(wrong ?? 0) === Object.prototype],
    ["fenceToken", (fenceToken) => ({ ...right, fenceToken }), (wrong) => wrong === undefined || wrong === 1n],
    ["versions", (versions) => ({ ...right, versions }), (wrong) => wrong === undefined || isEmpty(wrong)],
    ["[0]", (wrong) => ({ ...right, versions: [wrong] }), () => false],
    ["record", (record) => ({ ...right, versions: [{ ...version, record }] }), () => false],
    [
      "input_id",
      (inputId) => ({ ...right, versions: [{ ...version, inputId }] }),
      (wrong) => wrong === undefined || isText(wrong),
    ],
    // Undefined is the condition that no record is stored.
    [
      "version",
      (one) => ({ ...right, versions: [{ ...version, version: one }] }),
      (wrong) => wrong === undefined || isText(wrong),
    ],
  ];
  const refused: unknown[] = [{ expectedVersions: [] }, { fence: 1n }];
  for (const [, put, isAccepted] of places)
    refused.push(...WRONG.filter((wrong) => !isAccepted(wrong)).map((wrong) => put(wrong)));
  refused.push(...[...misspelled(right, "")].map(([, wrong]) => wrong));
  expect(refused.length).toBeGreaterThan(100);
  for (const wrong of refused) {
    let failure: unknown;
    try {
      store.withExpectations(wrong as never);
    } catch (error) {
      failure = error;
    }
    const record = expect.stringMatching(/^expectations/) as unknown;
    expect([wrong, failure]).toMatchObject([wrong, { reason: "INVALID_ARGUMENT", applied: "no", subject: { record } }]);
  }
  expect(() => store.withExpectations(right)).not.toThrow();
});

test("expectations that are added keep the earlier ones", async () => {
  const sent: object[] = [];
  const recording = { clearSessionSnapshot: (request: object) => Promise.resolve(sent.push(request)) };
  const plain = new RuntimeStoreAdapter(recording as never, EMPTY_STORE_ID);
  const versions = [{ record: "session_snapshot", version: "e.1" }] as const;
  await plain.withExpectations({ fenceToken: 1n }).withExpectations({ versions }).clearSessionSnapshot("rt");
  await plain.withExpectations({ fenceToken: 1n }).withExpectations({ fenceToken: 2n }).clearSessionSnapshot("rt");
  expect(sent).toMatchObject([
    { expectedFenceToken: 1n, expectedVersions: versions },
    { expectedFenceToken: 2n, expectedVersions: undefined },
  ]);
});

/** Right arguments of each method of `RuntimeStore`, before the options. */
const ARGUMENTS: Readonly<Record<string, readonly unknown[]>> = {
  persistAuthOauthFlowSnapshot: [Buffer.from("x")],
  loadAuthOauthFlowSnapshot: [],
  updateAuthOauthFlowSnapshot: [(): Buffer => Buffer.from("x")],
  commitSessionSnapshot: ["rt", document],
  commitSessionTranscriptRewriteSnapshot: ["rt", document, commit],
  atomicApply: ["rt", document, receipt, [row], id],
  loadInputStates: ["rt"],
  loadBoundaryReceipt: ["rt", id, 1n],
  loadSessionSnapshot: ["rt"],
  clearSessionSnapshot: ["rt"],
  replaceSessionSnapshotIfCurrent: ["rt", Buffer.from("{}"), Buffer.from("{}")],
  clearSessionSnapshotIfCurrent: ["rt", Buffer.from("{}")],
  persistInputState: ["rt", row],
  loadInputState: ["rt", id],
  loadMachineLifecycleRecord: ["rt"],
  commitMachineLifecycle: ["rt", lifecycle, [row]],
  persistOpsLifecycle: ["rt", ops],
  loadOpsLifecycle: ["rt"],
  deleteOpsLifecycle: ["rt"],
  deleteRuntime: ["rt"],
};

test.each(Object.entries(ARGUMENTS))("%s refuses a member that does not exist, wherever it is", async (name, right) => {
  const method = (store as unknown as Readonly<Record<string, AnyMethod>>)[name];
  for (const [index, argument] of right.entries()) {
    for (const [where, wrong] of misspelled(argument, `argument ${String(index)}`)) {
      await expectRefused(
        where,
        () =>
          method?.apply(
            store,
            right.map((one, at) => (at === index ? wrong : one)),
          ) as never,
      );
    }
  }
});

test("the table names every method of the store that returns a promise", () => {
  const names = Object.getOwnPropertyNames(RuntimeStoreAdapter.prototype).filter((name) => !NOT_CALLS.includes(name));
  expect(Object.keys(ARGUMENTS).sort()).toEqual(names.sort());
});
const NOT_CALLS = ["constructor", "withExpectations", "authAuthorityKey", "mutation", "runtimeMutation"];

test.each(Object.entries(ARGUMENTS))(
  "%s refuses every wrong argument before it sends anything",
  async (name, right) => {
    const method = (...args: readonly unknown[]): Promise<unknown> =>
      (store as unknown as Readonly<Record<string, AnyMethod>>)[name]?.apply(store, args as never) as Promise<unknown>;
    const signal = new AbortController().signal;
    const all = [...right, { timeoutMs: 10_000, signal, requestId: id }];
    for (const [index, argument] of all.entries()) {
      const isOptional = index === right.length || (name === "atomicApply" && (index === 1 || index === 4));
      for (const [where, wrong] of variants(argument, `argument ${String(index)}`, isOptional ? "optional" : "none")) {
        const isObjectOfOptions = index === right.length && /argument \d = object/.test(where) && wrong !== null;
        if (isObjectOfOptions || (/^argument \d = function/.test(where) && typeof argument === "function")) continue;
        // A load has no request id, and a small whole number is a time limit.
        if (name.startsWith("load") && where.includes("requestId")) continue;
        await expectRefused(`${name} ${where}`, () => method(...all.map((one, at) => (at === index ? wrong : one))));
      }
    }
  },
);
