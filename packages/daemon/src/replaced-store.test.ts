import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BoltholeStore, connect } from "@bolthole/client";
import type { StoredInputState, VersionedStore } from "@bolthole/contract";
import { comparesStore, isMutation, storeCodecs } from "@bolthole/contract/wire";
import { Daemons } from "./testing/daemons.js";
import { INPUT_ID, inputRow } from "./testing/input-row.js";

const RUN = "0198f0a0-0000-7000-8000-0000000000c1";

let folder: string;
let daemons: Daemons;
let store: BoltholeStore | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-replaced-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await store?.close();
  store = undefined;
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

async function* chunks(): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield Buffer.from("{}");
}

async function* rows(): AsyncGenerator<readonly StoredInputState[]> {
  await Promise.resolve();
  yield [inputRow("uploaded")];
}

type Reads = Partial<Record<keyof VersionedStore, (versioned: VersionedStore) => unknown>>;

/** A call of each RPC that changes nothing, and names its store in the metadata. */
const READS: Reads = {
  authAuthorityKey: (versioned) => versioned.authAuthorityKey({}),
  loadAuthOauthFlowSnapshot: (versioned) => versioned.loadAuthOauthFlowSnapshot({}),
  loadInputStates: (versioned) => versioned.loadInputStates({ runtimeId: "rt" }),
  loadBoundaryReceipt: (versioned) => versioned.loadBoundaryReceipt({ runtimeId: "rt", runId: RUN, sequence: 0n }),
  loadSessionSnapshot: (versioned) => versioned.loadSessionSnapshot({ runtimeId: "rt" }),
  loadInputState: (versioned) => versioned.loadInputState({ runtimeId: "rt", inputId: INPUT_ID }),
  loadMachineLifecycleRecord: (versioned) => versioned.loadMachineLifecycleRecord({ runtimeId: "rt" }),
  loadOpsLifecycle: (versioned) => versioned.loadOpsLifecycle({ runtimeId: "rt" }),
  loadOpsLifecycleJson: (versioned) => versioned.loadOpsLifecycleJson({ runtimeId: "rt" }),
  listRuntimes: (versioned) => versioned.listRuntimes({ pageSize: 0, pageToken: "" }),
  getCommit: (versioned) => versioned.getCommit({ requestId: RUN, seal: false }),
  uploadSessionSnapshot: (versioned) =>
    versioned.uploadSessionSnapshot({ runtimeId: "rt", length: 2, sha256: Buffer.alloc(32), chunks: chunks() }),
  uploadInputStates: (versioned) => versioned.uploadInputStates({ runtimeId: "rt", rowCount: 1, parts: rows() }),
};

test("every RPC that changes nothing has a case here, except GetServerInfo", () => {
  const compared = Object.entries(storeCodecs).filter(([, { method }]) => comparesStore(method));
  expect(compared.map(([name]) => name).sort()).toEqual(Object.keys(READS).sort());
  const others = Object.entries(storeCodecs).filter(([, { method }]) => !comparesStore(method) && !isMutation(method));
  expect(others.map(([name]) => name)).toEqual(["getServerInfo"]);
});

test("a client that stays connected gets STORE_REPLACED from another store, and never an empty result", async () => {
  const data = join(folder, "data");
  const daemon = daemons.add(data);
  await daemon.start();
  const connected = (store = await connect(daemon.target, { timeoutMs: 30_000 }));
  await connected.persistInputState("rt", inputRow("first store"));
  const before = connected.storeId;
  await daemon.stop();
  renameSync(data, `${data}-old`);
  await daemon.start();

  const { versioned } = connected;
  const now = (await versioned.getServerInfo({})).storeId;
  expect(now).not.toBe(before);
  for (const [name, read] of Object.entries(READS)) {
    const call = async (): Promise<unknown> => {
      const response = await read(versioned);
      return response;
    };
    await expect(call().then(() => `${name} was answered`)).rejects.toMatchObject({
      reason: "STORE_REPLACED",
      applied: "no",
      subject: { expected: before, actual: now },
    });
  }
  await expect(connected.loadInputStates("rt")).rejects.toMatchObject({ reason: "STORE_REPLACED" });
  await expect(connected.loadSessionSnapshot("rt")).rejects.toMatchObject({ reason: "STORE_REPLACED" });
  await expect(connected.persistInputState("rt", inputRow("lost"))).rejects.toMatchObject({ reason: "STORE_REPLACED" });

  const again = await connect(daemon.target);
  expect(await again.loadInputStates("rt")).toEqual([]);
  // A mutation has the id as a field, which a caller may set to the store that is served now.
  expect(
    await versioned.persistInputState({ runtimeId: "rt", state: inputRow("new"), expectedStoreId: now }),
  ).toMatchObject({ replayed: false });
  expect(await again.loadInputStates("rt")).toEqual([inputRow("new")]);
  await again.close();
});
