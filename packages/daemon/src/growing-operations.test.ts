import { mkdtempSync, rmSync } from "node:fs";
import { type Server, connect as connectSocket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import { opsWithResults } from "@bolthole/conformance";
import { writeOpsSnapshot } from "@bolthole/json";
import { Daemons, bolthole } from "./testing/daemons.js";

/** The reference writes its snapshot after each operation, with one result more. Before, the 112th of 9 kB was refused. */
const OPERATIONS = 128;
const RESULT_BYTES = 9_000;
const RUNTIME = "agent:growing";

let folder: string;
let daemons: Daemons;
let proxy: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-growing-"));
  daemons = new Daemons();
});
afterEach(async () => {
  proxy?.close();
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Passes a connection on to a daemon, and counts the bytes that its client sends. */
async function countingProxy(target: string, at: string): Promise<{ sent: number }> {
  const counted = { sent: 0 };
  const path = target.replace(/^unix:(\/\/)?/, "");
  proxy = createServer((client) => {
    const daemon = connectSocket(path);
    client.on("data", (bytes: Buffer) => {
      counted.sent += bytes.length;
    });
    client.pipe(daemon).pipe(client);
    for (const end of [client, daemon]) end.on("error", () => end.destroy());
  });
  await new Promise<void>((resolve) => proxy?.listen(at, resolve));
  return counted;
}

const usedBytes = async (data: string): Promise<number> => {
  const { out } = await bolthole("status", "--data", data, "--json");
  return Number((JSON.parse(out) as { readonly usedBytes: string }).usedBytes);
};

test("a snapshot that grows by one result sends and stores about that result, and is loaded as it was persisted", async () => {
  const data = join(folder, "data");
  const daemon = daemons.add(data);
  await daemon.start();
  const socket = join(folder, "proxy.sock");
  const counted = await countingProxy(daemon.target, socket);
  const store = await connect(`unix:${socket}`);
  try {
    const before = await usedBytes(data);
    let most = 0;
    for (let count = 1; count <= OPERATIONS; count += 1) {
      const start = counted.sent;
      await store.persistOpsLifecycle(RUNTIME, opsWithResults(count, RESULT_BYTES));
      // The first ones have little in common with the one before, and are sent whole.
      if (count > 8) most = Math.max(most, counted.sent - start);
    }
    const last = opsWithResults(OPERATIONS, RESULT_BYTES);
    const { length } = writeOpsSnapshot(last);
    expect(length).toBeGreaterThan(3 * 1024 * 1024);
    // Each result is in the snapshot three times.
    expect(most).toBeLessThan(3 * RESULT_BYTES + 16 * 1024);
    expect(await store.loadOpsLifecycle(RUNTIME)).toEqual(last);
    // Freed nodes are deleted within moments; what is not yet deleted counts here, too.
    expect((await usedBytes(data)) - before).toBeLessThan(3 * length);
  } finally {
    await store.close();
  }
});
