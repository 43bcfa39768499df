import { setTimeout as sleep } from "node:timers/promises";
import { DocumentSender } from "../load/document-sender.js";
import { openLoop, percentile } from "../load/loops.js";
import { RuntimeRows } from "../load/runtime-rows.js";
import { type Section, atMost, rowOf } from "../report.js";
import type { Run } from "../rounds.js";
import { Resources, type ServerProcess, startDaemon } from "../servers/server-process.js";

const CLIENTS = 4;
const DOCUMENT_BYTES = 10_000_000;
const BYTES_PER_SECOND = 40_000_000;
const SMALL_PER_SECOND = 400;
const RUNTIMES = 1024;
const RUNTIMES_SHORT = 256;
const QUIET_MS = 2000;
const LOADED_MS = 4000;
const SETTLE_MS = 500;
const IDLE_MS = 1000;
const SAMPLE_MS = 50;
const MB = 1e6;

/** Measures small requests, the event loop and the memory while clients send large new documents. */
export function newDocuments(run: Run): Promise<Section> {
  return Resources.with(async (resources) => {
    const documentBytes = run.isShort ? 100_000 : DOCUMENT_BYTES;
    const daemon = await resources.started(startDaemon(run.folder, { isObserved: true, profileFile: run.profileFile }));
    await sleep(run.isShort ? 0 : IDLE_MS);
    const idle = daemon.anonymousBytes();
    const rows = new RuntimeRows(await resources.connected(daemon.target), run.isShort ? RUNTIMES_SHORT : RUNTIMES);
    await rows.fill();
    const sender = await DocumentSender.start({
      target: daemon.target,
      clients: CLIENTS,
      documentBytes,
      bytesPerSecond: run.isShort ? 4e6 : BYTES_PER_SECOND,
    });
    resources.onEnd(() => sender.close());

    const small = async (forMs: number): Promise<number> =>
      percentile(await openLoop(smallRequest(rows), SMALL_PER_SECOND, forMs, run.rounds.signal), 99);
    const quiet: number[] = [];
    const loaded: number[] = [];
    const delays: number[] = [];
    const peaks: number[] = [];
    const rates: number[] = [];
    for (let round = run.rounds.hasRehearsal ? 0 : 1; round <= run.rounds.count; round += 1) {
      run.rounds.onProgress(`new documents: round ${String(round)} of ${String(run.rounds.count)}`);
      const quietMs = await small(run.isShort ? 100 : QUIET_MS);
      await daemon.innerFigures();
      const stopSampling = sampleMemory(daemon);
      const begin = performance.now();
      sender.send();
      const loadedMs = await small(run.isShort ? 300 : LOADED_MS);
      const { documents } = await sender.pause();
      const seconds = (performance.now() - begin) / 1000;
      const { longestDelayMs } = await daemon.innerFigures();
      const peak = stopSampling();
      await sleep(run.isShort ? 0 : SETTLE_MS);
      if (round === 0) continue;
      quiet.push(quietMs);
      loaded.push(loadedMs);
      delays.push(longestDelayMs);
      peaks.push(peak);
      rates.push((documents * documentBytes) / MB / seconds);
    }
    await rows.verify();

    const isJudged = !run.isShort;
    return {
      title: `Small requests while ${String(CLIENTS)} clients send new documents of 10 MB`,
      cells: [],
      rows: [
        rowOf({
          name: "small requests during new documents: p99, against p99 without them",
          values: loaded.map((ms, round) => ms / (quiet[round] ?? Number.NaN)),
          unit: "times",
          goal: atMost(5),
          isJudged,
        }),
        rowOf({
          name: "new documents: longest delay of the event loop",
          values: [Math.max(...delays)],
          unit: "ms",
          goal: atMost(30),
          isJudged,
        }),
        rowOf({
          name: "anonymous memory of the daemon, idle",
          values: [idle / MB],
          unit: "MB",
          goal: atMost(120),
          isJudged,
        }),
        rowOf({
          name: "anonymous memory during new documents: above idle, in documents per client",
          values: [(Math.max(...peaks) - idle) / documentBytes / CLIENTS],
          unit: "documents",
          goal: atMost(2),
          isJudged,
        }),
        rowOf({ name: "small requests without new documents: p99", values: quiet, unit: "ms" }),
        rowOf({ name: "small requests during new documents: p99", values: loaded, unit: "ms" }),
        rowOf({ name: "new documents: longest delay of the event loop in each round", values: delays, unit: "ms" }),
        rowOf({
          name: "new documents: highest anonymous memory",
          values: peaks.map((bytes) => bytes / MB),
          unit: "MB",
        }),
        rowOf({
          name: "new documents: committed",
          values: rates,
          unit: "MB/s",
          note: `${String(BYTES_PER_SECOND / MB)} MB/s are sent`,
        }),
      ],
    };
  });
}

/** Commits and loads alternately; each call uses another runtime than the calls before. */
function smallRequest(rows: RuntimeRows): (call: number) => Promise<void> {
  return async (call) => {
    const runtime = (call >> 1) % rows.runtimes;
    if (call % 2 === 0) await rows.commit(runtime);
    else await rows.load((runtime + rows.runtimes / 2) % rows.runtimes);
  };
}

/** Samples the memory until the returned function is called, which returns the highest value. */
function sampleMemory(server: ServerProcess): () => number {
  let greatest = server.anonymousBytes();
  const timer = setInterval(() => {
    greatest = Math.max(greatest, server.anonymousBytes());
  }, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    return greatest;
  };
}
