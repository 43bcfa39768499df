import { createHash } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import {
  type Committed,
  OutcomeUnknownError,
  type RunBoundaryReceipt,
  RuntimeStoreAdapter,
  type SessionChange,
  StoreError,
  type StoredInputState,
  type VersionedStore,
} from "@bolthole/contract";
import { DEFAULT_LIMITS, MemoryEngine, createEngineStore } from "@bolthole/core";
import { createDeltaStore } from "./delta-store.js";

const RT = "runtime";
const MIB = 1024 * 1024;
const OPTIONS = {
  heldDocumentBytes: 64 * MIB,
  knownInputBytes: MIB,
  timeoutMs: 10_000,
  maxMessageBytes: 33 * MIB,
};

/** What went over the line for one call. */
interface Sent {
  readonly method: string;
  readonly requestId: string;
  readonly document: "patch" | "whole" | "upload" | undefined;
  readonly expected: string | undefined;
  /** The numbers of the rows that travelled. */
  readonly rows: readonly number[];
  readonly unchanged: boolean;
}

interface AnyRequest {
  readonly requestId?: string;
  readonly sessionDelta?: SessionChange;
  readonly replacement?: SessionChange;
  readonly expected?: object;
  readonly inputUpdates?: readonly StoredInputState[];
  readonly inputStates?: readonly StoredInputState[];
  readonly unchangedInputs?: object;
}

const formOf = (change: SessionChange | undefined): Sent["document"] =>
  change && ("patch" in change ? "patch" : "uploadId" in change ? "upload" : "whole");

/** A line to a store: it makes request ids as the gRPC store does, notes what is sent, and loses answers when told to. */
class Line {
  readonly sent: Sent[] = [];
  loseAnswers = 0;
  readonly store: VersionedStore;

  constructor(private readonly behind: VersionedStore) {
    this.store = new Proxy(behind, {
      get: (target, name: keyof VersionedStore) => (request: AnyRequest) =>
        name === "getServerInfo" || name === "uploadSessionSnapshot" || name.startsWith("load")
          ? (target[name] as (request: object) => unknown)(request)
          : this.send(name, { ...request, requestId: request.requestId ?? uuidv7() }),
    });
  }

  take(): Sent[] {
    return this.sent.splice(0);
  }

  private async send(
    name: keyof VersionedStore,
    request: AnyRequest & { readonly requestId: string },
  ): Promise<unknown> {
    this.sent.push({
      method: name,
      requestId: request.requestId,
      document: formOf(request.sessionDelta ?? request.replacement),
      expected: request.expected && Object.keys(request.expected)[0],
      rows: (request.inputUpdates ?? request.inputStates ?? []).map(({ inputId }) => Number(inputId.slice(-6))),
      unchanged: request.unchangedInputs !== undefined,
    });
    const answer = await (this.behind[name] as (request: object) => Promise<unknown>)(request);
    if (this.loseAnswers === 0) return answer;
    this.loseAnswers -= 1;
    throw new OutcomeUnknownError(request.requestId, "lost");
  }
}

/** A store in memory, and clients of it that send what changed. */
class Site {
  private readonly engine = new MemoryEngine();
  readonly plain = createEngineStore(this.engine);

  client(options: Partial<typeof OPTIONS> = {}): { line: Line; versioned: VersionedStore; store: RuntimeStoreAdapter } {
    const line = new Line(this.plain);
    const versioned = createDeltaStore(line.store, DEFAULT_LIMITS, { ...OPTIONS, ...options });
    return { line, versioned, store: new RuntimeStoreAdapter(versioned, this.engine.storeId) };
  }

  async document(): Promise<string> {
    const loaded = await this.plain.loadSessionSnapshot({ runtimeId: RT });
    const chunks: Uint8Array[] = [];
    for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
    return Buffer.concat(chunks).toString("latin1");
  }
}

/** Bytes of another runtime's making, the same for the same seed. */
function bytesOf(seed: string, length = 100_000): Buffer {
  const parts: string[] = [];
  for (let n = 0; n * 44 < length; n++) parts.push(createHash("sha256").update(`${seed} ${n}`).digest("base64"));
  return Buffer.from(parts.join("").slice(0, length));
}

const with_ = (document: Buffer, text: string): Buffer => Buffer.concat([document, Buffer.from(text)]);
const delta = (sessionSnapshot: Uint8Array) => ({ sessionSnapshot, profile: "opaque" }) as const;
const idOf = (n: number): string => `0198f01a-0000-7000-8000-${String(n).padStart(12, "0")}`;
const row = (n: number, attemptCount = 0): StoredInputState => ({
  inputId: idOf(n),
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: "2026-05-28T15:31:27Z",
  updatedAt: "2026-05-28T15:31:27Z",
});
const rows = (count: number): StoredInputState[] => Array.from({ length: count }, (_, n) => row(n));
const receipt = (sequence: number): RunBoundaryReceipt => ({
  runId: idOf(9999),
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 0n,
  sequence: BigInt(sequence),
});

const failureOf = async (call: Promise<unknown>): Promise<StoreError> => {
  const error: unknown = await call.then(
    () => new Error("the call did not fail"),
    (reason: unknown) => reason,
  );
  if (error instanceof StoreError) return error;
  throw error;
};

/** The error of a call whose answer was lost. */
async function lossOf(call: Promise<unknown>): Promise<OutcomeUnknownError> {
  const error = await failureOf(call);
  if (error instanceof OutcomeUnknownError) return error;
  throw error;
}

describe("a document", () => {
  const first = bytesOf("first");
  const second = with_(first, "and a turn");

  test("travels whole at first, then as a patch, and is stored to the byte", async () => {
    const site = new Site();
    const { line, store } = site.client();
    await store.commitSessionSnapshot(RT, delta(first));
    await store.commitSessionSnapshot(RT, delta(second));
    await store.atomicApply(RT, delta(with_(second, "!")), receipt(0), [], undefined);
    expect(line.sent.map(({ document }) => document)).toEqual(["whole", "patch", "patch"]);
    expect(await site.document()).toBe(with_(second, "!").toString("latin1"));
  });

  test("that was loaded is the base of the next one", async () => {
    const site = new Site();
    const large = bytesOf("large", 3 * MIB);
    await site.client().store.commitSessionSnapshot(RT, delta(large));
    const { line, store } = site.client();
    expect(large.equals((await store.loadSessionSnapshot(RT)) ?? Buffer.of())).toBe(true);
    await store.commitSessionSnapshot(RT, delta(with_(large, "more")));
    expect(line.sent.map(({ document }) => document)).toEqual(["patch"]);
    expect(await site.document()).toBe(with_(large, "more").toString("latin1"));
  });

  test("that grew out of another client's travels whole, under another request id", async () => {
    const site = new Site();
    const [one, other] = [site.client(), site.client()];
    await one.store.commitSessionSnapshot(RT, delta(first));
    await other.store.commitSessionSnapshot(RT, delta(second));
    one.line.take();
    await one.store.commitSessionSnapshot(RT, delta(with_(second, "!")));
    const [refused, sent] = one.line.take();
    expect([refused?.document, sent?.document]).toEqual(["patch", "whole"]);
    expect(refused?.requestId).not.toBe(sent?.requestId);
    await one.store.commitSessionSnapshot(RT, delta(with_(second, "!!")));
    expect(one.line.take().map(({ document }) => document)).toEqual(["patch"]);
    expect(await site.document()).toBe(with_(second, "!!").toString("latin1"));
  });

  test("that was changed after it had been handed in does no harm", async () => {
    const site = new Site();
    const { line, store } = site.client();
    const mutable = Buffer.from(first);
    await store.commitSessionSnapshot(RT, delta(mutable));
    mutable.fill("x", 1000, 1010);
    await store.commitSessionSnapshot(RT, delta(mutable));
    expect(line.sent.map(({ document }) => document)).toEqual(["whole", "patch", "whole"]);
    expect(await site.document()).toBe(mutable.toString("latin1"));
  });

  test("with nothing of the old one, a small one, and any at all without a budget travel whole", async () => {
    const { line, store } = new Site().client();
    await store.commitSessionSnapshot(RT, delta(first));
    await store.commitSessionSnapshot(RT, delta(bytesOf("another")));
    await store.commitSessionSnapshot(RT, delta(first.subarray(0, 1000)));
    await store.commitSessionSnapshot(RT, delta(first.subarray(0, 1001)));
    const off = new Site().client({ heldDocumentBytes: 0 });
    await off.store.commitSessionSnapshot(RT, delta(first));
    await off.store.commitSessionSnapshot(RT, delta(second));
    for (const { document } of [...line.sent, ...off.line.sent]) expect(document).toBe("whole");
  });

  test("is forgotten when the budget is used for others", async () => {
    const { line, versioned } = new Site().client({ heldDocumentBytes: 250_000 });
    const commit = (runtimeId: string, document: Uint8Array) =>
      versioned.commitSessionSnapshot({ runtimeId, sessionDelta: delta(document) });
    for (const runtimeId of ["a", "b", "c"]) await commit(runtimeId, first);
    line.take();
    for (const runtimeId of ["c", "b", "a"]) await commit(runtimeId, second);
    expect(line.take().map(({ document }) => document)).toEqual(["patch", "patch", "whole"]);
  });

  test("is uploaded when it is large, and again when the store forgot the upload", async () => {
    const site = new Site();
    const { line, store } = site.client({ maxMessageBytes: 160_000 });
    const upload = jest.spyOn(site.plain, "uploadSessionSnapshot");
    upload.mockResolvedValueOnce("0198f01a-0000-4000-8000-000000000000");
    await store.commitSessionSnapshot(RT, delta(first));
    expect(line.sent.map(({ document }) => document)).toEqual(["upload", "upload"]);
    expect(upload).toHaveBeenCalledTimes(2);
    expect(await site.document()).toBe(first.toString("latin1"));
  });

  test("that is cleared is no base any more", async () => {
    for (const clear of ["clearSessionSnapshot", "clearSessionSnapshotIfCurrent"] as const) {
      const { line, store } = new Site().client();
      await store.commitSessionSnapshot(RT, delta(first));
      await store[clear](RT, first);
      await store.commitSessionSnapshot(RT, delta(first));
      expect(line.sent.map(({ document }) => document)).toEqual(["whole", undefined, "whole"]);
    }
  });

  test("of the caller's own making passes, and what it left is not guessed", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    const { version } = await versioned.commitSessionSnapshot({ runtimeId: RT, sessionDelta: delta(first) });
    const patch = { baseVersion: version, resultLength: 0, resultCrc32: 0, pieces: [] };
    await versioned.commitSessionSnapshot({ runtimeId: RT, sessionDelta: { patch } });
    expect(await site.document()).toBe("");
    await versioned.commitSessionSnapshot({ runtimeId: RT, sessionDelta: delta(first) });
    expect(line.sent.map(({ document }) => document)).toEqual(["whole", "patch", "whole"]);
  });
});

describe("an expected document", () => {
  const first = bytesOf("first");
  const second = with_(first, "and a turn");

  test("that is held goes by its version, another one by its digest", async () => {
    const { line, store } = new Site().client();
    await store.commitSessionSnapshot(RT, delta(first));
    expect(await store.replaceSessionSnapshotIfCurrent(RT, Buffer.from(first), second)).toBe(true);
    expect(await store.replaceSessionSnapshotIfCurrent(RT, first, second)).toBe(false);
    expect(await store.clearSessionSnapshotIfCurrent(RT, second)).toBe(true);
    expect(line.sent.map(({ expected }) => expected)).toEqual([undefined, "version", "document", "version"]);
    expect(line.sent.map(({ document }) => document)).toEqual(["whole", "patch", "patch", undefined]);
  });

  test("that came back at another version is still expected", async () => {
    const site = new Site();
    const [one, other] = [site.client(), site.client()];
    await one.store.commitSessionSnapshot(RT, delta(first));
    for (const document of [second, first]) await other.store.commitSessionSnapshot(RT, delta(document));
    one.line.take();
    expect(await one.store.clearSessionSnapshotIfCurrent(RT, first)).toBe(true);
    expect(one.line.take().map(({ expected }) => expected)).toEqual(["version", "document"]);
  });
});

describe("input rows", () => {
  const apply = (store: VersionedStore, sequence: number, inputUpdates: readonly StoredInputState[]) =>
    store.atomicApply({
      runtimeId: RT,
      sessionDelta: undefined,
      receipt: receipt(sequence),
      inputUpdates,
      sessionStoreKey: undefined,
    });

  test("travel when they changed, and the answer is as if all had travelled", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    const { version } = await apply(versioned, 0, rows(5));
    const answer = await apply(versioned, 1, [row(0), row(1, 1), row(2), row(3), row(4)]);
    expect(line.sent.map(({ rows: numbers }) => numbers)).toEqual([[0, 1, 2, 3, 4], [1]]);
    expect(answer.keptInputs).toEqual([0, 2, 3, 4].map((n) => ({ inputId: idOf(n), version })));
    const again = await apply(versioned, 2, [row(0), row(1, 1), row(2)]);
    expect(again.keptInputs.map((kept) => kept.version)).toEqual([version, answer.version, version]);
    const loaded = await site.client().store.loadInputStates(RT);
    expect(loaded.map(({ attemptCount }) => attemptCount)).toEqual([0, 1, 0, 0, 0]);
  });

  test("are known from a load, from single writes and from lifecycle commits", async () => {
    const site = new Site();
    await apply(site.plain, 0, rows(3));
    const { line, store, versioned } = site.client();
    const loaded = await store.loadInputStates(RT);
    await store.persistInputState(RT, row(7));
    await store.commitMachineLifecycle(RT, { runtimeState: "idle", binding: {} }, [...loaded, row(8)]);
    await apply(versioned, 1, [...loaded, row(7), row(8), row(9)]);
    expect(line.take().map(({ rows: numbers }) => numbers)).toEqual([[], [8], [9]]);
  });

  test("that the caller changed in place travel", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    const mine = rows(3) as { attemptCount: number }[] & StoredInputState[];
    await apply(versioned, 0, mine);
    for (const one of mine.slice(1)) one.attemptCount = 5;
    await apply(versioned, 1, mine);
    expect(line.sent.at(-1)?.rows).toEqual([1, 2]);
    expect((await site.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([0, 5, 5]);
  });

  test("all travel, under another request id, when somebody else wrote one", async () => {
    const site = new Site();
    const [one, other] = [site.client(), site.client()];
    await apply(one.versioned, 0, rows(3));
    await other.store.persistInputState(RT, row(1, 7));
    one.line.take();
    await apply(one.versioned, 1, [row(0), row(1), row(2, 1)]);
    const [refused, sent] = one.line.take();
    expect([refused?.rows, sent?.rows]).toEqual([[2], [0, 1, 2]]);
    expect(refused?.requestId).not.toBe(sent?.requestId);
    expect((await other.store.loadInputStates(RT)).map((state) => state.attemptCount)).toEqual([0, 0, 1]);
    await apply(one.versioned, 2, [row(0), row(1), row(2, 2)]);
    expect(one.line.take().map(({ rows: numbers }) => numbers)).toEqual([[2]]);
  });

  test("travel together with a whole document when both are another client's", async () => {
    const site = new Site();
    const [one, other] = [site.client(), site.client()];
    const document = bytesOf("document");
    const turn = (store: RuntimeStoreAdapter, sequence: number, text: string, attempt: number) =>
      store.atomicApply(RT, delta(with_(document, text)), receipt(sequence), [row(0), row(1, attempt)], undefined);
    await turn(one.store, 0, "a", 0);
    await turn(other.store, 1, "b", 1);
    one.line.take();
    await turn(one.store, 2, "c", 2);
    const sent = one.line.take();
    expect(sent.map((request) => [request.document, request.rows])).toEqual([
      ["patch", [1]],
      ["whole", [0, 1]],
    ]);
  });

  test("a bad one is named by its place among all of them", async () => {
    const { versioned } = new Site().client();
    await apply(versioned, 0, rows(3));
    const bad = { ...row(2), createdAt: "yesterday" };
    const error = await failureOf(apply(versioned, 1, [row(0), row(1), bad]));
    expect(error.subject.record).toBe("input_updates[2].created_at");
  });

  test("with an id that comes twice, or in another spelling, are sent as they are", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    await apply(versioned, 0, rows(3));
    await apply(versioned, 1, [row(1, 4), row(1)]);
    const shouted = { ...row(0, 6), inputId: idOf(0).toUpperCase() };
    await apply(versioned, 2, [shouted, row(1)]);
    await apply(versioned, 3, [row(0), row(1)]);
    expect(line.sent.map(({ rows: numbers }) => numbers)).toEqual([
      [0, 1, 2],
      [1, 1],
      [0, 1],
      [0, 1],
    ]);
    expect((await site.client().store.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual([0, 0, 0]);
  });

  test("all travel without a budget", async () => {
    const { line, versioned } = new Site().client({ knownInputBytes: 0 });
    for (const sequence of [0, 1]) await apply(versioned, sequence, rows(2));
    expect(line.sent.map(({ rows: numbers }) => numbers)).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });
});

describe("a request id", () => {
  const first = bytesOf("first");
  const turn = (store: VersionedStore, text: string, sequence: number, requestId?: string): Promise<Committed> =>
    store.atomicApply({
      runtimeId: RT,
      sessionDelta: delta(with_(first, text)),
      receipt: receipt(sequence),
      inputUpdates: [row(0), row(1, sequence)],
      sessionStoreKey: undefined,
      requestId,
    });

  test("of the caller goes with the whole request, so that any process can repeat it", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    await turn(versioned, "", 0);
    const requestId = uuidv7();
    const answer = await turn(versioned, "a", 1, requestId);
    expect(line.sent.at(-1)).toMatchObject({ requestId, document: "whole", rows: [0, 1], unchanged: false });
    const replayed = { version: answer.version, replayed: true };
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject(replayed);
    expect(await turn(site.client().versioned, "a", 1, requestId)).toMatchObject(replayed);
  });

  test("of a lost answer gets that answer when the call is repeated with it, and nothing follows by itself", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    await turn(versioned, "", 0);
    line.loseAnswers = 1;
    line.take();
    const { requestId } = await lossOf(turn(versioned, "a", 1));
    expect(line.take()).toMatchObject([{ document: "patch", rows: [1] }]);
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject({ replayed: true });
    expect(line.take()).toMatchObject([{ requestId, document: "patch", rows: [1] }]);
    expect((await failureOf(turn(versioned, "b", 1, requestId))).reason).toBe("REQUEST_ID_REUSED");
    await turn(versioned, "b", 2);
    expect(await site.document()).toBe(with_(first, "b").toString("latin1"));
  });

  test("of a lost answer to an upload gets that answer too", async () => {
    const site = new Site();
    const { line, versioned } = site.client({ maxMessageBytes: 100_000 });
    line.loseAnswers = 1;
    const { requestId } = await lossOf(turn(versioned, "a", 1));
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject({ replayed: true });
    expect(line.sent.map(({ document }) => document)).toEqual(["upload", "upload"]);
  });

  test("of a lost answer to a compare-and-set gets that answer too", async () => {
    const { line, store } = new Site().client();
    await store.commitSessionSnapshot(RT, delta(first));
    line.loseAnswers = 1;
    const { requestId } = await lossOf(store.clearSessionSnapshotIfCurrent(RT, first));
    expect(await store.clearSessionSnapshotIfCurrent(RT, first, { requestId })).toBe(true);
    expect(line.sent.map(({ expected }) => expected)).toEqual([undefined, "version", "version"]);
  });

  test("of a lost request that was never applied applies once, whatever is stored by then", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    await turn(versioned, "", 0);
    const behind = jest.spyOn(site.plain, "atomicApply");
    behind.mockImplementationOnce(() => Promise.resolve({ version: "", replayed: false, keptInputs: [] }));
    line.loseAnswers = 1;
    const { requestId } = await lossOf(turn(versioned, "a", 1));
    await turn(site.client().versioned, "other", 2);
    line.take();
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject({ replayed: false });
    expect(line.take().map((sent) => [sent.document, sent.requestId])).toEqual([
      ["patch", requestId],
      ["whole", requestId],
    ]);
    expect(await turn(site.client().versioned, "a", 1, requestId)).toMatchObject({ replayed: true });
  });
});
