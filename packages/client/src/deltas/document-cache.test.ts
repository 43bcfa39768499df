import type { RuntimeStore } from "@bolthole/contract";
import { MIB, RT, SharedStore, append, documentOf, opaque, receipt } from "../testing/shared-store.js";

const first = documentOf("first");
const second = append(first, "and a turn");

describe("a committed document", () => {
  test("is sent in full at first and then as a patch, and is stored byte for byte", async () => {
    const shared = new SharedStore();
    const { recorder, store } = shared.client();
    await store.commitSessionSnapshot(RT, opaque(first));
    await store.commitSessionSnapshot(RT, opaque(second));
    await store.atomicApply(RT, opaque(append(second, "!")), receipt(0), [], undefined);
    expect(recorder.sent.map(({ document }) => document)).toEqual(["whole", "patch", "patch"]);
    expect(await shared.document()).toBe(append(second, "!").toString("latin1"));
  });

  test("can be a patch of a document that was loaded", async () => {
    const shared = new SharedStore();
    const large = documentOf("large", 3 * MIB);
    await shared.client().store.commitSessionSnapshot(RT, opaque(large));
    const { recorder, store } = shared.client();
    expect(large.equals((await store.loadSessionSnapshot(RT)) ?? Buffer.of())).toBe(true);
    await store.commitSessionSnapshot(RT, opaque(append(large, "more")));
    expect(recorder.sent.map(({ document }) => document)).toEqual(["patch"]);
    expect(await shared.document()).toBe(append(large, "more").toString("latin1"));
  });

  test("is sent in full under a new request id when another client has replaced the base", async () => {
    const shared = new SharedStore();
    const [one, other] = [shared.client(), shared.client()];
    await one.store.commitSessionSnapshot(RT, opaque(first));
    await other.store.commitSessionSnapshot(RT, opaque(second));
    one.recorder.take();
    await one.store.commitSessionSnapshot(RT, opaque(append(second, "!")));
    const [refused, sent] = one.recorder.take();
    expect([refused?.document, sent?.document]).toEqual(["patch", "whole"]);
    expect(refused?.requestId).not.toBe(sent?.requestId);
    await one.store.commitSessionSnapshot(RT, opaque(append(second, "!!")));
    expect(one.recorder.take().map(({ document }) => document)).toEqual(["patch"]);
    expect(await shared.document()).toBe(append(second, "!!").toString("latin1"));
  });

  test("is stored correctly when the caller changed the cached document in place", async () => {
    const shared = new SharedStore();
    const { recorder, store } = shared.client();
    const mutable = Buffer.from(first);
    await store.commitSessionSnapshot(RT, opaque(mutable));
    mutable.fill("x", 1000, 1010);
    await store.commitSessionSnapshot(RT, opaque(mutable));
    expect(recorder.sent.map(({ document }) => document)).toEqual(["whole", "patch", "whole"]);
    expect(await shared.document()).toBe(mutable.toString("latin1"));
  });

  test("is sent in full when it has nothing in common with the base, is small, or the cache is off", async () => {
    const { recorder, store } = new SharedStore().client();
    await store.commitSessionSnapshot(RT, opaque(first));
    await store.commitSessionSnapshot(RT, opaque(documentOf("another")));
    await store.commitSessionSnapshot(RT, opaque(first.subarray(0, 1000)));
    await store.commitSessionSnapshot(RT, opaque(first.subarray(0, 1001)));
    const off = new SharedStore().client({ documentCacheBytes: 0 });
    await off.store.commitSessionSnapshot(RT, opaque(first));
    await off.store.commitSessionSnapshot(RT, opaque(second));
    for (const { document } of [...recorder.sent, ...off.recorder.sent]) expect(document).toBe("whole");
  });

  test("leaves the cache when other documents use up the budget", async () => {
    const { recorder, versioned } = new SharedStore().client({ documentCacheBytes: 250_000 });
    const commit = (runtimeId: string, document: Uint8Array) =>
      versioned.commitSessionSnapshot({ runtimeId, sessionDelta: opaque(document) });
    for (const runtimeId of ["a", "b", "c"]) await commit(runtimeId, first);
    recorder.take();
    for (const runtimeId of ["c", "b", "a"]) await commit(runtimeId, second);
    expect(recorder.take().map(({ document }) => document)).toEqual(["patch", "patch", "whole"]);
  });

  test("is uploaded when it is large, and uploaded again when the store no longer has the upload", async () => {
    const shared = new SharedStore();
    const { recorder, store } = shared.client({ maxMessageBytes: 160_000 });
    const upload = jest.spyOn(shared.plain, "uploadSessionSnapshot");
    upload.mockResolvedValueOnce("0198f01a-0000-4000-8000-000000000000");
    await store.commitSessionSnapshot(RT, opaque(first));
    expect(recorder.sent.map(({ document }) => document)).toEqual(["upload", "upload"]);
    expect(upload).toHaveBeenCalledTimes(2);
    expect(await shared.document()).toBe(first.toString("latin1"));
  });

  test("is uploaded in chunks within the message limit of the client", async () => {
    const shared = new SharedStore();
    const { store } = shared.client({ maxMessageBytes: 64 * 1024 });
    const lengths: number[] = [];
    const upload = shared.plain.uploadSessionSnapshot.bind(shared.plain);
    jest.spyOn(shared.plain, "uploadSessionSnapshot").mockImplementation(async (request, call) => {
      for await (const { length } of request.chunks) lengths.push(length);
      return upload(request, call);
    });
    await store.commitSessionSnapshot(RT, opaque(first));
    expect(Math.max(...lengths)).toBe(32 * 1024);
    expect(await shared.document()).toBe(first.toString("latin1"));
  });

  test("is not a patch of a document that was cleared", async () => {
    const clears: ((store: RuntimeStore) => Promise<unknown>)[] = [
      (store) => store.clearSessionSnapshot(RT),
      (store) => store.clearSessionSnapshotIfCurrent(RT, first),
    ];
    for (const clear of clears) {
      const { recorder, store } = new SharedStore().client();
      await store.commitSessionSnapshot(RT, opaque(first));
      await clear(store);
      await store.commitSessionSnapshot(RT, opaque(first));
      expect(recorder.sent.map(({ document }) => document)).toEqual(["whole", undefined, "whole"]);
    }
  });

  test("may be a patch of the caller's own, which is passed on and empties the cache entry", async () => {
    const shared = new SharedStore();
    const { recorder, versioned } = shared.client();
    const { version } = await versioned.commitSessionSnapshot({ runtimeId: RT, sessionDelta: opaque(first) });
    const patch = { baseVersion: version, resultLength: 0, resultCrc32: 0, pieces: [] };
    await versioned.commitSessionSnapshot({ runtimeId: RT, sessionDelta: { patch } });
    expect(await shared.document()).toBe("");
    await versioned.commitSessionSnapshot({ runtimeId: RT, sessionDelta: opaque(first) });
    expect(recorder.sent.map(({ document }) => document)).toEqual(["whole", "patch", "whole"]);
  });
});

describe("an expected document", () => {
  test("is sent as a version when it is cached, and as a hash otherwise", async () => {
    const { recorder, store } = new SharedStore().client();
    await store.commitSessionSnapshot(RT, opaque(first));
    expect(await store.replaceSessionSnapshotIfCurrent(RT, Buffer.from(first), second)).toBe(true);
    expect(await store.replaceSessionSnapshotIfCurrent(RT, first, second)).toBe(false);
    expect(await store.clearSessionSnapshotIfCurrent(RT, second)).toBe(true);
    expect(recorder.sent.map(({ expected }) => expected)).toEqual([undefined, "version", "document", "version"]);
    expect(recorder.sent.map(({ document }) => document)).toEqual(["whole", "patch", "patch", undefined]);
  });

  test("does not match the stored document after it was changed in place", async () => {
    const shared = new SharedStore();
    const { store } = shared.client();
    const committed = Buffer.from(first);
    await store.commitSessionSnapshot(RT, opaque(committed));
    committed.fill("x", 1000, 1010);
    expect(await store.replaceSessionSnapshotIfCurrent(RT, committed, second)).toBe(false);
    const other = shared.client();
    const loaded = await other.store.loadSessionSnapshot(RT);
    loaded?.fill(0, 1000, 1010);
    expect(await other.store.clearSessionSnapshotIfCurrent(RT, loaded ?? first)).toBe(false);
    expect(await shared.document()).toBe(first.toString("latin1"));
  });

  test("matches when the same bytes are stored again at a new version", async () => {
    const shared = new SharedStore();
    const [one, other] = [shared.client(), shared.client()];
    await one.store.commitSessionSnapshot(RT, opaque(first));
    for (const document of [second, first]) await other.store.commitSessionSnapshot(RT, opaque(document));
    one.recorder.take();
    expect(await one.store.clearSessionSnapshotIfCurrent(RT, first)).toBe(true);
    expect(one.recorder.take().map(({ expected }) => expected)).toEqual(["version", "document"]);
  });
});
