import type { Committed, VersionedStore } from "@bolthole/contract";
import { v7 as uuidv7 } from "uuid";
import { failureOf, outcomeUnknownOf } from "../testing/failure-of.js";
import { RT, SharedStore, append, documentOf, opaque, receipt, row } from "../testing/shared-store.js";

describe("a request id", () => {
  const first = documentOf("first");
  const turn = (store: VersionedStore, text: string, sequence: number, requestId?: string): Promise<Committed> =>
    store.atomicApply({
      runtimeId: RT,
      sessionDelta: opaque(append(first, text)),
      receipt: receipt(sequence),
      inputUpdates: [row(0), row(1, sequence)],
      sessionStoreKey: undefined,
      requestId,
    });

  test("of the caller is sent with the request in full, so that any process can repeat it", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    await turn(versioned, "", 0);
    const requestId = uuidv7();
    const response = await turn(versioned, "a", 1, requestId);
    expect(recorder.sent.at(-1)).toMatchObject({ requestId, document: "whole", rows: [0, 1], unchanged: false });
    const replayed = { version: response.version, replayed: true };
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject(replayed);
    expect(await turn(shared.client().versioned, "a", 1, requestId)).toMatchObject(replayed);
  });

  test("of a lost response returns that response when the call is repeated, and the client sends nothing by itself", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    await turn(versioned, "", 0);
    recorder.loseResponses = 1;
    recorder.take();
    const { requestId } = await outcomeUnknownOf(turn(versioned, "a", 1));
    expect(recorder.take()).toMatchObject([{ document: "patch", rows: [1] }]);
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject({ replayed: true });
    expect(recorder.take()).toMatchObject([{ requestId, document: "patch", rows: [1] }]);
    expect((await failureOf(turn(versioned, "b", 1, requestId))).reason).toBe("REQUEST_ID_REUSED");
    await turn(versioned, "b", 2);
    expect(await shared.document()).toBe(append(first, "b").toString("latin1"));
  });

  test("of a lost response returns that response when the document was uploaded", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client({ maxMessageBytes: 100_000 });
    recorder.loseResponses = 1;
    const { requestId } = await outcomeUnknownOf(turn(versioned, "a", 1));
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject({ replayed: true });
    expect(recorder.sent.map(({ document }) => document)).toEqual(["upload", "upload"]);
  });

  test("of a lost response to a compare-and-set returns that response", async () => {
    const { recorder, store } = new SharedStore().client();
    await store.commitSessionSnapshot(RT, opaque(first));
    recorder.loseResponses = 1;
    const { requestId } = await outcomeUnknownOf(store.clearSessionSnapshotIfCurrent(RT, first));
    expect(await store.clearSessionSnapshotIfCurrent(RT, first, { requestId })).toBe(true);
    expect(recorder.sent.map(({ expected }) => expected)).toEqual([undefined, "version", "version"]);
  });

  test("of a lost response to the full request returns that response after the request in parts was refused", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    await turn(versioned, "", 0);
    const spy = jest.spyOn(shared.plain, "atomicApply");
    spy.mockImplementationOnce(() => Promise.resolve({ version: "", replayed: false, keptInputs: [] }));
    recorder.loseResponses = 1;
    const { requestId } = await outcomeUnknownOf(turn(versioned, "", 1));
    await shared.client().store.persistInputState(RT, row(0, 7));
    recorder.loseResponses = 1;
    expect((await outcomeUnknownOf(turn(versioned, "", 1, requestId))).requestId).toBe(requestId);
    expect(await turn(versioned, "", 1, requestId)).toMatchObject({ replayed: true });
    expect(recorder.take().map(({ rows: numbers }) => numbers)).toEqual([[0, 1], [1], [1], [0, 1], [0, 1]]);
  });

  test("of a lost response to a compare-and-set by hash returns that response after the version did not match", async () => {
    const shared = new SharedStore();
    const { recorder, store } = shared.client();
    await store.commitSessionSnapshot(RT, opaque(first));
    const spy = jest.spyOn(shared.plain, "clearSessionSnapshotIfCurrent");
    spy.mockImplementationOnce(() => Promise.resolve({ version: "", replayed: false }));
    recorder.loseResponses = 1;
    const { requestId } = await outcomeUnknownOf(store.clearSessionSnapshotIfCurrent(RT, first));
    for (const document of [append(first, "!"), first]) {
      await shared.client().store.commitSessionSnapshot(RT, opaque(document));
    }
    recorder.take();
    recorder.loseResponses = 1;
    await outcomeUnknownOf(store.clearSessionSnapshotIfCurrent(RT, first, { requestId }));
    expect(await store.clearSessionSnapshotIfCurrent(RT, first, { requestId })).toBe(true);
    expect(recorder.take().map(({ expected }) => expected)).toEqual(["version", "document", "document"]);
  });

  test("of a lost request that was never applied applies once, even when another client has written since", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    await turn(versioned, "", 0);
    const spy = jest.spyOn(shared.plain, "atomicApply");
    spy.mockImplementationOnce(() => Promise.resolve({ version: "", replayed: false, keptInputs: [] }));
    recorder.loseResponses = 1;
    const { requestId } = await outcomeUnknownOf(turn(versioned, "a", 1));
    await turn(shared.client().versioned, "other", 2);
    recorder.take();
    expect(await turn(versioned, "a", 1, requestId)).toMatchObject({ replayed: false });
    expect(recorder.take().map((sent) => [sent.document, sent.requestId])).toEqual([
      ["patch", requestId],
      ["whole", requestId],
    ]);
    expect(await turn(shared.client().versioned, "a", 1, requestId)).toMatchObject({ replayed: true });
  });
});
