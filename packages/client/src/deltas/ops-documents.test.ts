import { opsWithResults } from "@bolthole/conformance";
import { OutcomeUnknownError, RuntimeStoreAdapter, type VersionedStore } from "@bolthole/contract";
import { DEFAULT_LIMITS } from "@bolthole/core";
import { MIB, RT, SharedStore } from "../testing/shared-store.js";
import { createDeltaStore } from "./delta-store.js";

const snapshot = (count: number) => opsWithResults(count, 20_000);

test("an operation snapshot with one result more is sent as a patch", async () => {
  const shared = new SharedStore();
  const { recorder, store } = shared.client();
  for (const count of [2, 3, 4]) await store.persistOpsLifecycle(RT, snapshot(count));
  expect(recorder.take().map(({ document }) => document)).toEqual(["whole", "patch", "patch"]);
  expect(await store.loadOpsLifecycle(RT)).toEqual(snapshot(4));
});

test("a loaded operation snapshot is the base of the next one, also after a restart of the client", async () => {
  const shared = new SharedStore();
  await shared.client().store.persistOpsLifecycle(RT, snapshot(2));
  const { recorder, store } = shared.client();
  await store.loadOpsLifecycle(RT);
  await store.persistOpsLifecycle(RT, snapshot(3));
  expect(recorder.take().map(({ document }) => document)).toEqual(["patch"]);
});

test("after another client has written, the whole snapshot is sent", async () => {
  const shared = new SharedStore();
  const first = shared.client();
  await first.store.persistOpsLifecycle(RT, snapshot(2));
  await shared.client().store.persistOpsLifecycle(RT, snapshot(5));
  first.recorder.take();
  await first.store.persistOpsLifecycle(RT, snapshot(3));
  expect(first.recorder.take().map(({ document }) => document)).toEqual(["patch", "whole"]);
  expect(await first.store.loadOpsLifecycle(RT)).toEqual(snapshot(3));
});

test.each<[string, (store: VersionedStore) => Promise<unknown>]>([
  ["its deletion", (store) => store.deleteOpsLifecycle({ runtimeId: RT })],
  ["the deletion of the runtime", (store) => store.deleteRuntime({ runtimeId: RT })],
])("after %s, the whole snapshot is sent", async (_what, remove) => {
  const { recorder, store, versioned } = new SharedStore().client();
  await store.persistOpsLifecycle(RT, snapshot(2));
  await remove(versioned);
  recorder.take();
  await store.persistOpsLifecycle(RT, snapshot(3));
  expect(recorder.take().map(({ document }) => document)).toEqual(["whole"]);
});

test("a snapshot above half of a message is uploaded", async () => {
  const { recorder, store } = new SharedStore().client({ maxMessageBytes: MIB / 2 });
  await store.persistOpsLifecycle(RT, snapshot(10));
  expect(recorder.take().map(({ document }) => document)).toEqual(["upload"]);
  expect(await store.loadOpsLifecycle(RT)).toEqual(snapshot(10));
});

test("a call with the request id of a lost response is made in the same form, and applied once", async () => {
  const { recorder, store } = new SharedStore().client();
  await store.persistOpsLifecycle(RT, snapshot(2));
  recorder.take();
  recorder.loseResponses = 1;
  const lost: unknown = await store.persistOpsLifecycle(RT, snapshot(3)).catch((error: unknown) => error);
  if (!(lost instanceof OutcomeUnknownError)) throw new Error("expected a lost response");
  // A second change would be refused: its patch has the base that the first one replaced.
  await store.persistOpsLifecycle(RT, snapshot(3), { requestId: lost.requestId });
  expect(recorder.take().map(({ document }) => document)).toEqual(["patch", "patch"]);
});

test("a snapshot above the limit of the daemon is refused with its size before anything is sent", async () => {
  const { recorder } = new SharedStore().client();
  const limits = { ...DEFAULT_LIMITS, operationSnapshotBytes: 50_000 };
  const options = { documentCacheBytes: MIB, inputRowCacheBytes: MIB, timeoutMs: 10_000, maxMessageBytes: MIB };
  const { storeId } = await recorder.store.getServerInfo({});
  const store = new RuntimeStoreAdapter(createDeltaStore(recorder.store, limits, options), storeId);
  const actual = expect.stringMatching(/^6\d{4} bytes$/) as string;
  await expect(store.persistOpsLifecycle(RT, snapshot(1))).rejects.toMatchObject({
    variant: "WriteFailed",
    reason: "TOO_LARGE",
    applied: "no",
    subject: { record: "ops_delta", expected: "at most 50000 bytes", actual },
  });
  expect(recorder.take()).toEqual([]);
});
