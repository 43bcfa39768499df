import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@bolthole/client";
import type { BoltholeStore } from "@bolthole/client";
import type { Random } from "../random.js";
import { guardedWrites } from "./writes.js";

/** The one argument of a fenced writer's process. */
export interface WriterSettings {
  readonly target: string;
  readonly runtimeId: string;
  /** In digits: JSON has no bigint. */
  readonly fenceToken: string;
  readonly seed: number;
  /** Where it notes what became of each write. */
  readonly file: string;
}

export interface WriterLine {
  readonly method: string;
  readonly applied: boolean;
  readonly reason?: string;
}

export interface Round {
  /** The name of its runtime, too. */
  readonly name: string;
  readonly target: string;
  readonly folder: string;
  readonly random: Random;
}

const WRITES_BEFORE = 3;
const START_MS = 30_000;
const END_MS = 60_000;
const POLL_MS = 5;
const LONGEST_STOP_MS = 400;
const OLD_TOKEN = 1n;
const NEW_TOKEN = 2n;

/**
 * A writer with a fence token is stopped at a random instant, another one takes its runtime over with a newer token and
 * writes every record, and the first goes on. Answers what is wrong: a write of the first one that came through, or a
 * record that is not as the second one left it.
 */
export async function fenceRound({ name, target, folder, random }: Round): Promise<string[]> {
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
    writer = fork(join(__dirname, "fenced-writer-main.js"), [JSON.stringify(settings)]);
    const ended = once(writer, "exit", { signal: AbortSignal.timeout(START_MS + END_MS) });
    await writesOf(file, writer);
    await sleep(random.below(20));
    writer.kill("SIGSTOP");
    const lastVersion = await takeOver(store, name, random);
    await sleep(random.below(LONGEST_STOP_MS));
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
    if (writer.exitCode !== null || Date.now() > limit) throw new Error("a fenced writer does not write");
    await sleep(POLL_MS);
  }
}

/** Every record is written under the new token; answers the version of the last write. */
async function takeOver(store: BoltholeStore, runtimeId: string, random: Random): Promise<string> {
  const lifecycle = { runtimeState: "running", binding: { fenceToken: NEW_TOKEN } } as const;
  await store.commitMachineLifecycle(runtimeId, lifecycle, []);
  const mine = store.withExpectations({ fenceToken: NEW_TOKEN });
  for (const write of Object.values(guardedWrites(random, runtimeId, NEW_TOKEN))) await write(mine);
  return lastVersionOf(store, runtimeId);
}

/** From the first refusal on, every write was refused, and for the fence alone. */
function refusalProblems(lines: readonly WriterLine[]): string[] {
  const first = lines.findIndex(({ applied }) => !applied);
  const after = first < 0 ? [] : lines.slice(first);
  if (after.length < 2) return ["the old writer was not refused"];
  return after
    .filter(({ reason }) => reason !== "FENCE_CONFLICT")
    .map(({ method, reason = "applied" }) => `${method} of the old writer, after it was refused: ${reason}`);
}

/** Nothing of the runtime was written since. */
async function stateProblems(store: BoltholeStore, runtimeId: string, lastVersion: string): Promise<string[]> {
  const version = await lastVersionOf(store, runtimeId);
  return version === lastVersion ? [] : [`written at ${version}, after the new writer's last write at ${lastVersion}`];
}

async function lastVersionOf(store: BoltholeStore, runtimeId: string): Promise<string> {
  for (let pageToken = ""; ;) {
    const page = await store.versioned.listRuntimes({ pageSize: 1000, pageToken });
    const found = page.runtimes.find((summary) => summary.runtimeId === runtimeId);
    if (found) return found.version;
    if (page.nextPageToken === "") throw new Error(`runtime ${runtimeId} is not listed`);
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
