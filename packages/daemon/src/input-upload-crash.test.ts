import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BoltholeStore, connect } from "@bolthole/client";
import type { StoredInputState } from "@bolthole/contract";
import { Daemons, bolthole } from "./testing/daemons.js";

const RT = "runtime";
const NOW = "2026-05-28T15:31:27Z";
const rowOf = (n: number, attemptCount = 0): StoredInputState => ({
  inputId: `0198f01a-0000-7000-8000-${String(n).padStart(12, "0")}`,
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});

let folder: string;
let data: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-upload-crash-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Commits to another runtime until the daemon has stored a part of an upload, which takes a commit sequence. */
async function partStored(store: BoltholeStore): Promise<void> {
  let last: number | undefined;
  for (let n = 1; n <= 5000; n += 1) {
    const { version } = await store.versioned.persistInputState({ runtimeId: "other", state: rowOf(0, n) });
    const sequence = Number(version.split(".").at(-1));
    if (last !== undefined && sequence > last + 1) return;
    last = sequence;
  }
  throw new Error("expected the daemon to store a part of the upload, but it did not");
}

test("a daemon that is killed during an upload of input rows has the old rows, and no damage", async () => {
  const daemon = await daemons.add(data).start();
  const store = await connect(daemon.target);
  await store.persistInputState(RT, rowOf(1));
  async function* parts(): AsyncGenerator<readonly StoredInputState[]> {
    yield Array.from({ length: 700 }, (_, n) => rowOf(n, 1));
    // The rest of the upload never arrives.
    await new Promise(() => undefined);
  }
  const upload = store.versioned
    .uploadInputStates({ runtimeId: RT, rowCount: 1000, parts: parts() })
    .then(() => "uploaded")
    .catch(() => "failed");
  await partStored(store);
  await daemon.stop("SIGKILL");
  expect(await upload).toBe("failed");
  await store.close();

  expect(await bolthole("verify", "--data", data)).toMatchObject({ code: 0 });
  await daemons.serve(daemon, async (again) => {
    expect(await again.loadInputStates(RT)).toEqual([expect.objectContaining({ ...rowOf(1) })]);
    expect(await bolthole("verify", "--data", data)).toMatchObject({ code: 0 });
  });
});

test("an upload that no commit uses leaves nothing that a check complains of, while the daemon runs and after a restart", async () => {
  const daemon = daemons.add(data);
  await daemons.serve(daemon, async (store) => {
    await store.persistInputState(RT, rowOf(1));
    const rows = Array.from({ length: 600 }, (_, n) => rowOf(n, 1));
    const parts = { [Symbol.asyncIterator]: () => [rows].values() } as unknown as AsyncIterable<StoredInputState[]>;
    await store.versioned.uploadInputStates({ runtimeId: RT, rowCount: rows.length, parts });
    expect(await bolthole("verify", "--data", data)).toMatchObject({ code: 0 });
  });
  expect(await bolthole("verify", "--data", data)).toMatchObject({ code: 0 });
  await daemons.serve(daemon, async (store) => {
    expect(await store.loadInputStates(RT)).toHaveLength(1);
  });
});
