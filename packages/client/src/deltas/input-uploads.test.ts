import { type CommitMachineLifecycle, OutcomeUnknownError, type VersionedStore, writeFailed } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { DEFAULT_LIMITS } from "@bolthole/core";
import { createDeltaStore } from "./delta-store.js";
import { MIB, RT, SharedStore, receipt, row, rows } from "../testing/shared-store.js";

const MANY = 4097;

const promptRow = (n: number, bytes: number) => ({
  ...row(n),
  persistedInput:
    `{"input_type":"prompt","header":{"id":"${row(n).inputId}","timestamp":"2026-05-28T15:31:27Z",` +
    `"source":{"type":"operator"},"durability":"durable","visibility":{"transcript_eligible":true,` +
    `"operator_eligible":true}},"text":"${"x".repeat(bytes)}"}`,
});

const boundary = (sequence: number) => ({
  runtimeId: RT,
  sessionDelta: undefined,
  receipt: receipt(sequence),
  sessionStoreKey: undefined,
});

test("more rows than one request may have are uploaded, whatever their order and the spelling of their ids", async () => {
  const shared = new SharedStore();
  const client = shared.client();
  const upload = jest.spyOn(shared.plain, "uploadInputStates");
  const mixed = rows(MANY).reverse();
  const repeated = row(MANY - 2, 7);
  const inputUpdates = [...mixed, { ...repeated, inputId: repeated.inputId.toUpperCase() }];
  await client.versioned.atomicApply({ ...boundary(0), inputUpdates });
  expect(upload).toHaveBeenCalledTimes(1);
  const stored = await client.store.loadInputStates(RT);
  expect(stored).toHaveLength(MANY);
  expect(stored.at(-2)?.attemptCount).toBe(7);
  expect(client.recorder.take()).toMatchObject([{ method: "atomicApply", rows: [] }]);
});

test("rows that the store already has are not uploaded again", async () => {
  const shared = new SharedStore();
  const client = shared.client({ inputRowCacheBytes: 64 << 20 });
  const upload = jest.spyOn(shared.plain, "uploadInputStates");
  await client.versioned.atomicApply({ ...boundary(0), inputUpdates: rows(MANY) });
  const changed = [...rows(MANY).slice(0, -1), row(MANY - 1, 1)];
  await client.versioned.atomicApply({ ...boundary(1), inputUpdates: changed });
  expect(upload).toHaveBeenCalledTimes(1);
  expect(client.recorder.take().at(-1)).toMatchObject({ rows: [MANY - 1], unchanged: true });
  expect((await client.store.loadInputStates(RT)).at(-1)?.attemptCount).toBe(1);
});

test("rows are uploaded again when other rows were written meanwhile, up to five times", async () => {
  const shared = new SharedStore();
  const client = shared.client({ inputRowCacheBytes: 0 });
  const original = shared.plain.uploadInputStates.bind(shared.plain);
  let others = 0;
  let writes = 0;
  const upload = jest.spyOn(shared.plain, "uploadInputStates").mockImplementation(async (request, call) => {
    const id = await original(request, call);
    if (others > 0) {
      others -= 1;
      await shared.plain.persistInputState({ runtimeId: RT, state: row(9000, (writes += 1)) });
    }
    return id;
  });
  others = 4;
  const record = encodeLifecycleRecord({ runtimeState: "idle", binding: {} });
  await client.versioned.commitMachineLifecycle({ runtimeId: RT, record, inputStates: rows(MANY) });
  expect(upload).toHaveBeenCalledTimes(5);
  expect(client.recorder.take()).toHaveLength(5);
  expect(await client.store.loadInputStates(RT)).toHaveLength(MANY + 1);

  others = 5;
  const again = client.versioned.commitMachineLifecycle({ runtimeId: RT, record, inputStates: rows(MANY) });
  await expect(again).rejects.toMatchObject({ reason: "BUSY", applied: "no" });
  expect(upload).toHaveBeenCalledTimes(10);
});

test("a commit whose response was lost is repeated with the same rows, and applied once", async () => {
  const shared = new SharedStore();
  const client = shared.client();
  client.recorder.loseResponses = 1;
  const response = await client.versioned.atomicApply({ ...boundary(0), inputUpdates: rows(MANY) });
  expect(response.replayed).toBe(true);
  expect(await client.store.loadInputStates(RT)).toHaveLength(MANY);
});

describe("over a store that refuses commits", () => {
  const record = encodeLifecycleRecord({ runtimeState: "idle", binding: {} });
  const requestId = "0198f01a-0000-7000-8000-00000000000a";
  const unknownUpload = writeFailed("UPLOAD_UNKNOWN", "unknown", { record: "input_upload_id" });

  /** Retires a runtime over a store that answers with these errors. Returns the error, and the request ids that were sent. */
  async function failureOf(errors: readonly Error[]): Promise<{ failure: unknown; sent: unknown[] }> {
    const sent: unknown[] = [];
    const commitMachineLifecycle = (request: CommitMachineLifecycle): Promise<never> => {
      sent.push(request.requestId);
      return Promise.reject(errors[sent.length - 1] ?? new Error("no more errors"));
    };
    const stub = { commitMachineLifecycle, uploadInputStates: () => Promise.resolve("upload") };
    const options = { documentCacheBytes: 0, inputRowCacheBytes: 0, timeoutMs: 10_000, maxMessageBytes: 33 * MIB };
    const store = createDeltaStore(stub as unknown as VersionedStore, DEFAULT_LIMITS, options);
    const failure = await store.commitMachineLifecycle({ runtimeId: RT, record, inputStates: rows(MANY) }).then(
      () => undefined,
      (error: unknown) => error,
    );
    return { failure, sent };
  }

  test("the request id is left to the connection, which knows the times that the store accepts", async () => {
    const taken = writeFailed("FENCE_CONFLICT", "fence");
    expect(await failureOf([unknownUpload, taken])).toEqual({ failure: taken, sent: [undefined, undefined] });
  });

  test("a refusal after a lost response is final only if the store looked for the outcome first", async () => {
    const lost = new OutcomeUnknownError(requestId, "lost");
    const fence = writeFailed("FENCE_CONFLICT", "fence");
    expect(await failureOf([lost, fence])).toEqual({ failure: fence, sent: [undefined, requestId] });
    const busy = writeFailed("BUSY", "busy");
    expect(await failureOf([lost, busy])).toEqual({ failure: lost, sent: [undefined, requestId] });
    const others = [unknownUpload, unknownUpload, unknownUpload, unknownUpload];
    const sent = [undefined, ...others.map(() => requestId)];
    expect(await failureOf([lost, ...others])).toEqual({ failure: lost, sent });
  });
});

test("the error of an uploaded row has its name in the request of the caller", async () => {
  const client = new SharedStore().client();
  const inputUpdates = [...rows(MANY).slice(1).reverse(), { ...row(0), createdAt: "yesterday" }];
  await expect(client.versioned.atomicApply({ ...boundary(0), inputUpdates })).rejects.toMatchObject({
    reason: "INVALID_ARGUMENT",
    subject: { record: `input_updates[${String(MANY - 1)}].created_at` },
    text: expect.stringContaining(`input_updates[${String(MANY - 1)}].created_at: `) as string,
  });
  expect(await client.store.loadInputStates(RT)).toEqual([]);
});

test("a single row that is too long for a message is uploaded in pieces", async () => {
  const shared = new SharedStore();
  const client = shared.client({ maxMessageBytes: 1 << 20 });
  const upload = jest.spyOn(shared.plain, "uploadInputStates");
  const long = promptRow(1, 3 << 20);
  await client.versioned.persistInputState({ runtimeId: RT, state: long });
  expect(upload).toHaveBeenCalledTimes(1);
  expect((await client.store.loadInputState(RT, long.inputId))?.persistedInput).toBe(long.persistedInput);
  expect(client.recorder.take()).toMatchObject([{ method: "persistInputState" }]);
});

test("rows with many sources are uploaded when one message cannot have them", async () => {
  const shared = new SharedStore();
  const client = shared.client({ maxMessageBytes: 1 << 20 });
  const upload = jest.spyOn(shared.plain, "uploadInputStates");
  const sourceInputIds = Array.from({ length: 20_000 }, (_, n) => row(n).inputId);
  const coalesced = rows(2).map((one) => ({
    ...one,
    reconstructionSource: { kind: "coalescing", sourceInputIds } as const,
  }));
  await client.versioned.atomicApply({ ...boundary(0), inputUpdates: coalesced });
  expect(upload).toHaveBeenCalledTimes(1);
  expect(await client.store.loadInputStates(RT)).toHaveLength(2);
});

test("a row above the limit of the daemon is refused, and nothing is sent", async () => {
  const client = new SharedStore().client();
  const inputUpdates = [row(0), promptRow(1, 32 << 20)];
  await expect(client.versioned.atomicApply({ ...boundary(0), inputUpdates })).rejects.toMatchObject({
    reason: "TOO_LARGE",
    applied: "no",
    subject: { record: "input_updates[1]", expected: "at most 33554432 bytes" },
  });
  expect(client.recorder.take()).toEqual([]);
});
