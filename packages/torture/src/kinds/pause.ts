import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { type RuntimeStoreAdapter, StoreError } from "@bolthole/contract";
import { faultKind } from "../fault-run.js";
import { UNLEDGERED } from "../ledger.js";
import { boundaryReceipt, freshId, inputRow, opsSnapshot } from "../load/records.js";
import { SessionScript } from "../load/session-script.js";
import { Random } from "../random.js";

const SHORTEST_STOP_MS = 500;
const LONGEST_STOP_MS = 2500;
const FENCE_ROUNDS = 5;

/** Stops the daemon while clients wait, and stops writers whose runtime gets a new owner before they continue. */
export const pause = faultKind({
  name: "pause",
  description: "SIGSTOP of the daemon for seconds, and of writers whose runtime gets a new owner",
  acknowledgedBefore: 50,
  withinMs: 200,
  endings: [],
  allowedRefusals: [],
  mountsDisk: false,
  prepare: (folder) => {
    let rounds = 0;
    return Promise.resolve({
      data: join(folder, "data"),
      injectFault: async ({ daemon, random, violations, count }) => {
        daemon.signal("SIGSTOP");
        await sleep(SHORTEST_STOP_MS + random.below(LONGEST_STOP_MS - SHORTEST_STOP_MS));
        daemon.signal("SIGCONT");
        count("daemon stopped");
        for (let round = 0; round < FENCE_ROUNDS; round += 1) {
          const name = `${UNLEDGERED} fence ${String((rounds += 1))}`;
          count("writer stopped");
          const problems = await fenceRound({ name, target: daemon.target, folder, random });
          if (problems.length === 0) count("old writer refused");
          for (const problem of problems) violations.add("fencing", name, problem);
        }
        return undefined;
      },
      recover: () => Promise.resolve(),
      dispose: () => Promise.resolve(),
    });
  },
});

/** The settings of a fenced writer; the only argument of its process, as JSON. */
interface WriterSettings {
  readonly target: string;
  readonly runtimeId: string;
  /** Decimal digits, because JSON has no bigint. */
  readonly fenceToken: string;
  readonly seed: number;
  /** The file to which it appends the result of each write. */
  readonly file: string;
}

interface WriterLine {
  readonly method: string;
  readonly applied: boolean;
  readonly reason?: string;
}

interface Round {
  /** The name of the round, which is also the id of its runtime. */
  readonly name: string;
  readonly target: string;
  readonly folder: string;
  readonly random: Random;
}

const WRITES_BEFORE = 3;
const START_MS = 30_000;
const END_MS = 60_000;
const POLL_MS = 5;
const LONGEST_WRITER_STOP_MS = 400;
const OLD_TOKEN = 1n;
const NEW_TOKEN = 2n;

/**
 * Stops a writer with a fence token at a random time, lets a new writer with a newer token write every record, and
 * continues the old writer. Returns the problems: an applied write of the old writer, or a record that differs from what
 * the new writer wrote.
 */
async function fenceRound({ name, target, folder, random }: Round): Promise<string[]> {
  const file = join(folder, `${name.replace(/\W+/g, "-")}.jsonl`);
  const store = await connect(target);
  let writer: ChildProcess | undefined;
  try {
    await store.commitMachineLifecycle(name, { runtimeState: "running", binding: { fenceToken: OLD_TOKEN } }, []);
    const settings: WriterSettings = {
      target,
      runtimeId: name,
      fenceToken: OLD_TOKEN.toString(),
      seed: random.below(1 << 30),
      file,
    };
    writer = fork(__filename, [JSON.stringify(settings)]);
    const ended = once(writer, "exit", { signal: AbortSignal.timeout(START_MS + END_MS) });
    await writesOf(file, writer);
    await sleep(random.below(20));
    writer.kill("SIGSTOP");
    const lastVersion = await takeOver(store, name, random);
    await sleep(random.below(LONGEST_WRITER_STOP_MS));
    writer.kill("SIGCONT");
    await ended;
    const problems = [...refusalProblems(linesOf(file)), ...(await stateProblems(store, name, lastVersion))];
    if (problems.length === 0) rmSync(file);
    return problems;
  } finally {
    writer?.kill("SIGKILL");
    await store.close();
  }
}

async function writesOf(file: string, writer: ChildProcess): Promise<void> {
  const limit = Date.now() + START_MS;
  while (linesOf(file).length < WRITES_BEFORE) {
    if (writer.exitCode !== null || Date.now() > limit) throw new Error("a fenced writer made no writes within 30 s");
    await sleep(POLL_MS);
  }
}

/** Writes every record with the new token. Returns the version of the last write. */
async function takeOver(store: BoltholeStore, runtimeId: string, random: Random): Promise<string> {
  const lifecycle = { runtimeState: "running", binding: { fenceToken: NEW_TOKEN } } as const;
  await store.commitMachineLifecycle(runtimeId, lifecycle, []);
  const fenced = store.withExpectations({ fenceToken: NEW_TOKEN });
  for (const write of Object.values(guardedWrites(random, runtimeId, NEW_TOKEN))) await write(fenced);
  const version = await lastVersionOf(store, runtimeId);
  if (version === undefined) throw new Error(`runtime ${runtimeId} is not listed`);
  return version;
}

/** Returns the writes after the first refusal that were not refused as FENCE_CONFLICT. */
function refusalProblems(lines: readonly WriterLine[]): string[] {
  const first = lines.findIndex(({ applied }) => !applied);
  const after = first < 0 ? [] : lines.slice(first);
  if (after.length < 2) return ["the old writer was not refused"];
  return after
    .filter(({ reason }) => reason !== "FENCE_CONFLICT")
    .map(({ method, reason = "applied" }) => `${method} of the old writer, after it was refused: ${reason}`);
}

/** Returns a problem when the runtime has changed since the new writer's last write. */
async function stateProblems(store: BoltholeStore, runtimeId: string, lastVersion: string): Promise<string[]> {
  const version = await lastVersionOf(store, runtimeId);
  if (version === lastVersion) return [];
  const change = version === undefined ? "deleted" : `written at ${version}`;
  return [`${change}, after the new writer's last write at ${lastVersion}`];
}

/** Returns the version of the last write of a runtime, or undefined when the runtime has no records. */
async function lastVersionOf(store: BoltholeStore, runtimeId: string): Promise<string | undefined> {
  for (let pageToken = ""; ;) {
    const page = await store.versioned.listRuntimes({ pageSize: 1000, pageToken });
    const found = page.runtimes.find((summary) => summary.runtimeId === runtimeId);
    if (found) return found.version;
    if (page.nextPageToken === "") return undefined;
    pageToken = page.nextPageToken;
  }
}

const linesOf = (file: string): WriterLine[] =>
  existsSync(file)
    ? readFileSync(file, "utf8")
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as WriterLine)
    : [];

type Write = (store: RuntimeStoreAdapter) => Promise<unknown>;

/**
 * Returns one write of each kind that a fence token guards. Both writers write the same records. The two that compare the
 * session miss, which is decided after the fence token is compared.
 */
export function guardedWrites(random: Random, runtimeId: string, fenceToken: bigint): Readonly<Record<string, Write>> {
  const session = (): Buffer => {
    const script = new SessionScript(SESSION_ID, 200, random);
    return script.document(script.next(random, freshId()));
  };
  return {
    DeleteOpsLifecycle: (store) => store.deleteOpsLifecycle(runtimeId),
    ClearSessionSnapshot: (store) => store.clearSessionSnapshot(runtimeId),
    PersistInputState: (store) => store.persistInputState(runtimeId, inputRow(random, INPUT_ID, freshId())),
    CommitSessionSnapshot: (store) => store.commitSessionSnapshot(runtimeId, { sessionSnapshot: session() }),
    ReplaceSessionSnapshotIfCurrent: (store) => store.replaceSessionSnapshotIfCurrent(runtimeId, NO_SESSION, session()),
    ClearSessionSnapshotIfCurrent: (store) => store.clearSessionSnapshotIfCurrent(runtimeId, NO_SESSION),
    PersistOpsLifecycle: (store) => store.persistOpsLifecycle(runtimeId, opsSnapshot(random, freshId())),
    CommitMachineLifecycle: (store) =>
      store.commitMachineLifecycle(runtimeId, { runtimeState: "running", binding: { fenceToken } }, []),
    AtomicApply: (store) => {
      const receipt = boundaryReceipt(freshId(), 1n, [INPUT_ID], 0, freshId());
      return store.atomicApply(runtimeId, undefined, receipt, [inputRow(random, INPUT_ID, freshId())], undefined);
    },
  };
}

/** Bytes that no writer stores. */
const NO_SESSION = Buffer.from("{}");
const INPUT_ID = "0198f0a0-0000-7000-8000-0000000000bb";
const SESSION_ID = "0198f0a0-0000-7000-8000-000000000001";

/** The most writes of a writer. One that is not refused by then will not be refused at all. */
const MOST_WRITES = 300;

/** The old writer, in its own process: writes with its token until it is refused, then tries every kind of write once more. */
async function main(settings: WriterSettings): Promise<void> {
  // Synchronous, because the process may be stopped at any time.
  const note = (line: WriterLine): void => {
    appendFileSync(settings.file, `${JSON.stringify(line)}\n`);
  };
  const store = await connect(settings.target);
  const fenceToken = BigInt(settings.fenceToken);
  const fenced = store.withExpectations({ fenceToken });
  const writes = Object.entries(guardedWrites(new Random(settings.seed), settings.runtimeId, fenceToken)).map(
    ([method, write]) => [method, () => write(fenced)] as const,
  );
  const attempt = async ([method, write]: readonly [string, () => Promise<unknown>]): Promise<boolean> => {
    try {
      await write();
      note({ method, applied: true });
      return true;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      note({ method, applied: false, reason: error.reason });
      return false;
    }
  };
  for (let turn = 0; turn < MOST_WRITES; turn += 1) {
    const write = writes[turn % writes.length];
    if (write && !(await attempt(write))) break;
  }
  for (const write of writes) await attempt(write);
  // Last, because it would delete the fence token that it expects.
  await attempt(["DeleteRuntime", () => fenced.deleteRuntime(settings.runtimeId)]);
  await store.close();
}

if (require.main === module) void main(JSON.parse(process.argv[2] ?? "") as WriterSettings);
