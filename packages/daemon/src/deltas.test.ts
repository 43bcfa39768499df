import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BoltholeStore, type ConnectOptions, connect } from "@bolthole/client";
import { StoreError, type RunBoundaryReceipt, type StoredInputState } from "@bolthole/contract";
import { resolveConfig } from "./config.js";
import { type Daemon, startDaemon } from "./daemon.js";
import { createLog } from "./log.js";

const RT = "runtime";
const MIB = 1024 * 1024;
const INSTANT = "2026-05-28T15:31:27Z";

/** A data folder with a daemon that can be restarted while clients stay connected. */
class Site {
  readonly clients: BoltholeStore[] = [];
  private readonly folder = mkdtempSync(join(tmpdir(), "bolthole-deltas-"));
  private daemon: Daemon | undefined;

  async start(flags: Record<string, string> = {}): Promise<void> {
    await this.daemon?.stop();
    const config = resolveConfig({ data: join(this.folder, "data"), ...flags }, {});
    this.daemon = await startDaemon(config, createLog("silent"), (cause) => {
      throw cause;
    });
  }

  async client(options: ConnectOptions = {}): Promise<BoltholeStore> {
    const client = await connect(this.daemon?.targets[0] ?? "", { timeoutMs: 50_000, ...options });
    this.clients.push(client);
    return client;
  }

  async end(): Promise<void> {
    for (const client of this.clients) await client.close();
    await this.daemon?.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let site: Site;
beforeEach(async () => {
  site = new Site();
  await site.start();
});
afterEach(() => site.end());

/** Returns text that is unique for each seed. */
function prose(seed: string, length: number): string {
  const parts: string[] = [];
  for (let n = 0; n * 44 < length; n++) parts.push(createHash("sha256").update(`${seed} ${n}`).digest("base64"));
  return parts.join("").slice(0, length);
}

/** Bytes in which no range occurs twice, so that no patch can copy one. */
const noise = Buffer.from(
  Uint32Array.from({ length: 10 * MIB }, (_, n) => Math.imul(n ^ (n >>> 15), 0x2c1b3c6d)).buffer,
);

const message = (n: number, size = 3000): object => ({
  role: "user",
  content: prose(`message ${n}`, size),
  created_at: INSTANT,
});
const session = (messages: readonly object[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      version: 2,
      id: "0198f0a0-0000-7000-8000-000000000001",
      messages,
      created_at: { secs_since_epoch: 1779982287, nanos_since_epoch: 0 },
      updated_at: { secs_since_epoch: 1779982287 + messages.length, nanos_since_epoch: messages.length * 7 },
      metadata: {},
      usage: {
        input_tokens: messages.length,
        output_tokens: 0,
        cache_creation_tokens: null,
        cache_read_tokens: null,
      },
    }),
  );

const idOf = (n: number): string => `0198f01a-0000-7000-8000-${String(n).padStart(12, "0")}`;
const row = (n: number, attemptCount: number): StoredInputState => ({
  inputId: idOf(n),
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: INSTANT,
  updatedAt: INSTANT,
});

const receipt = (sequence: number): RunBoundaryReceipt => ({
  runId: idOf(9999),
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 0n,
  sequence: BigInt(sequence),
});

/** Commits turns with alternating clients. After each turn, a new client must load the same session and rows. */
async function turns(
  clients: readonly BoltholeStore[],
  count: number,
  before?: (turn: number) => Promise<void>,
): Promise<void> {
  const messages = Array.from({ length: 300 }, (_, n) => message(n));
  const rows = Array.from({ length: 20 }, (_, n) => row(n, 0));
  for (let turn = 0; turn < count; turn++) {
    await before?.(turn);
    messages.push(message(1000 + turn, 2000));
    rows[turn % rows.length] = row(turn % rows.length, turn + 1);
    const store = clients[turn % clients.length];
    await store?.atomicApply(RT, { sessionSnapshot: session(messages) }, receipt(turn), rows, undefined);
    const fresh = await site.client();
    expect(session(messages).equals((await fresh.loadSessionSnapshot(RT)) ?? Buffer.of())).toBe(true);
    expect((await fresh.loadInputStates(RT)).map((one) => one.attemptCount)).toEqual(
      rows.map((one) => one.attemptCount),
    );
  }
}

test("one client commits turn after turn", async () => {
  await turns([await site.client()], 6);
});

test("two clients commit turns of one runtime alternately", async () => {
  await turns([await site.client(), await site.client()], 6);
});

test("a client continues when the daemon is restarted between its turns", async () => {
  await turns([await site.client()], 4, () => site.start());
});

test("a session that grows above and shrinks below the request limit is loaded byte for byte", async () => {
  const store = await site.client();
  const opaque = (length: number, tail = "") =>
    ({ sessionSnapshot: Buffer.concat([noise.subarray(0, length), Buffer.from(tail)]), profile: "opaque" }) as const;
  const steps = [opaque(40 * MIB), opaque(40 * MIB, "a turn"), opaque(20 * MIB), opaque(100), opaque(36 * MIB, "x")];
  for (const delta of steps) {
    await store.commitSessionSnapshot(RT, delta);
    expect(delta.sessionSnapshot.equals((await store.loadSessionSnapshot(RT)) ?? Buffer.of())).toBe(true);
  }
  const [first, , , , last] = steps;
  expect(
    await store.replaceSessionSnapshotIfCurrent(
      RT,
      last?.sessionSnapshot ?? Buffer.of(),
      first?.sessionSnapshot ?? Buffer.of(),
    ),
  ).toBe(true);
  expect(first?.sessionSnapshot.equals((await store.loadSessionSnapshot(RT)) ?? Buffer.of())).toBe(true);
});

test("a document above the limit is refused, in a request and in an upload", async () => {
  await site.start({ maxDocumentSize: "12MiB" });
  const store = await site.client();
  const commit = (length: number) =>
    store.commitSessionSnapshot(RT, { sessionSnapshot: Buffer.alloc(length, 1), profile: "opaque" });
  await commit(12 * MIB);
  for (const length of [12 * MIB + 1, 13 * MIB]) {
    const error: unknown = await commit(length).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ reason: "TOO_LARGE", applied: "no" });
  }
  expect((await store.loadSessionSnapshot(RT))?.length).toBe(12 * MIB);
});

test("a client without caches sends everything, with the same result", async () => {
  await turns([await site.client({ documentCacheBytes: 0, inputRowCacheBytes: 0 })], 2);
});
