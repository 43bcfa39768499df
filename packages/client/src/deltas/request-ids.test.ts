import type { Committed, VersionedStore } from "@bolthole/contract";
import { v7 as uuidv7 } from "uuid";
import { failureOf } from "../failure.test.helper.js";
import { RT, Site, bytesOf, delta, lossOf, receipt, row, with_ } from "./site.test.helper.js";

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

  test("of a lost answer to the whole request, after a part was refused, gets that answer", async () => {
    const site = new Site();
    const { line, versioned } = site.client();
    await turn(versioned, "", 0);
    const behind = jest.spyOn(site.plain, "atomicApply");
    behind.mockImplementationOnce(() => Promise.resolve({ version: "", replayed: false, keptInputs: [] }));
    line.loseAnswers = 1;
    const { requestId } = await lossOf(turn(versioned, "", 1));
    await site.client().store.persistInputState(RT, row(0, 7));
    line.loseAnswers = 1;
    expect((await lossOf(turn(versioned, "", 1, requestId))).requestId).toBe(requestId);
    expect(await turn(versioned, "", 1, requestId)).toMatchObject({ replayed: true });
    expect(line.take().map(({ rows: numbers }) => numbers)).toEqual([[0, 1], [1], [1], [0, 1], [0, 1]]);
  });

  test("of a lost answer to a compare-and-set by digest, after the version was missed, gets that answer", async () => {
    const site = new Site();
    const { line, store } = site.client();
    await store.commitSessionSnapshot(RT, delta(first));
    const behind = jest.spyOn(site.plain, "clearSessionSnapshotIfCurrent");
    behind.mockImplementationOnce(() => Promise.resolve({ version: "", replayed: false }));
    line.loseAnswers = 1;
    const { requestId } = await lossOf(store.clearSessionSnapshotIfCurrent(RT, first));
    for (const document of [with_(first, "!"), first]) {
      await site.client().store.commitSessionSnapshot(RT, delta(document));
    }
    line.take();
    line.loseAnswers = 1;
    await lossOf(store.clearSessionSnapshotIfCurrent(RT, first, { requestId }));
    expect(await store.clearSessionSnapshotIfCurrent(RT, first, { requestId })).toBe(true);
    expect(line.take().map(({ expected }) => expected)).toEqual(["version", "document", "document"]);
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
