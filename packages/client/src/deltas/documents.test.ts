import { MIB, RT, Site, bytesOf, delta, receipt, with_ } from "./site.test.helper.js";

const first = bytesOf("first");
const second = with_(first, "and a turn");

describe("a document", () => {
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

  test("is uploaded in messages that both sides take", async () => {
    const site = new Site();
    const { store } = site.client({ maxMessageBytes: 64 * 1024 });
    const lengths: number[] = [];
    const upload = site.plain.uploadSessionSnapshot.bind(site.plain);
    jest.spyOn(site.plain, "uploadSessionSnapshot").mockImplementation(async (request, call) => {
      for await (const { length } of request.chunks) lengths.push(length);
      return upload(request, call);
    });
    await store.commitSessionSnapshot(RT, delta(first));
    expect(Math.max(...lengths)).toBe(32 * 1024);
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
  test("that is held goes by its version, another one by its digest", async () => {
    const { line, store } = new Site().client();
    await store.commitSessionSnapshot(RT, delta(first));
    expect(await store.replaceSessionSnapshotIfCurrent(RT, Buffer.from(first), second)).toBe(true);
    expect(await store.replaceSessionSnapshotIfCurrent(RT, first, second)).toBe(false);
    expect(await store.clearSessionSnapshotIfCurrent(RT, second)).toBe(true);
    expect(line.sent.map(({ expected }) => expected)).toEqual([undefined, "version", "document", "version"]);
    expect(line.sent.map(({ document }) => document)).toEqual(["whole", "patch", "patch", undefined]);
  });

  test("that was changed in place is not taken for the stored one", async () => {
    const site = new Site();
    const { store } = site.client();
    const committed = Buffer.from(first);
    await store.commitSessionSnapshot(RT, delta(committed));
    committed.fill("x", 1000, 1010);
    expect(await store.replaceSessionSnapshotIfCurrent(RT, committed, second)).toBe(false);
    const other = site.client();
    const loaded = await other.store.loadSessionSnapshot(RT);
    loaded?.fill(0, 1000, 1010);
    expect(await other.store.clearSessionSnapshotIfCurrent(RT, loaded ?? first)).toBe(false);
    expect(await site.document()).toBe(first.toString("latin1"));
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
