import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Random } from "@bolthole/core/testing";
import { IncorrectResponseError } from "../load/loops.js";
import { type Section, atMost, rowOf } from "../report.js";
import type { Run } from "../rounds.js";
import { DOCUMENT_FILE } from "../servers/bare-server.js";
import { Resources, type ServerProcess, startBareStream, startDaemon } from "../servers/server-process.js";
import { Conversation } from "../sessions/conversation.js";

const RUNTIME = "agent:first-load";
const SESSION = "0198f0a0-0005-7000-8000-000000000001";
const TURN_BYTES = 8000;
/** A single load varies, so the row is the median of all starts. */
const STARTS_A_ROUND = 2;

/** Measures the load of a session immediately after the daemon was started. */
export async function firstLoad(run: Run): Promise<Section> {
  const document = new Conversation(SESSION, new Random(5)).growTo(run.isShort ? 3e6 : 1e7, TURN_BYTES).document();
  await Resources.with(async (resources) => {
    const { target } = await resources.started(startDaemon(run.folder));
    await (await resources.connected(target)).commitSessionSnapshot(RUNTIME, { sessionSnapshot: document });
  });
  mkdirSync(join(run.folder, "bare-stream"), { mode: 0o700 });
  writeFileSync(join(run.folder, "bare-stream", DOCUMENT_FILE), document);

  const daemonMs: number[] = [];
  const bareMs: number[] = [];
  const { count, hasRehearsal, signal, onProgress } = run.rounds;
  for (let start = hasRehearsal ? -1 : 0; start < count * STARTS_A_ROUND; start += 1) {
    signal.throwIfAborted();
    onProgress(`first load: ${String(start + 1)} of ${String(count * STARTS_A_ROUND)}`);
    const daemon = await firstLoadOf(() => startDaemon(run.folder), document);
    const bare = await firstLoadOf(() => startBareStream(run.folder), document);
    if (start < 0) continue;
    daemonMs.push(daemon);
    bareMs.push(bare);
  }
  return {
    title: "First load after a restart",
    cells: [],
    rows: [
      rowOf({
        name: "first load of a 10 MB session, against a bare stream of its bytes",
        values: daemonMs.map((ms, index) => ms / (bareMs[index] ?? Number.NaN)),
        unit: "times",
        goal: atMost(1.3),
        isJudged: !run.isShort,
      }),
      rowOf({ name: "first load of a 10 MB session: daemon", values: daemonMs, unit: "ms" }),
      rowOf({ name: "first load of a 10 MB session: bare stream", values: bareMs, unit: "ms" }),
    ],
  };
}

/** Returns the milliseconds of the first load of a new server; connecting is not included. */
const firstLoadOf = (start: () => Promise<ServerProcess>, document: Buffer): Promise<number> =>
  Resources.with(async (resources) => {
    const store = await resources.connected((await resources.started(start())).target);
    const begin = performance.now();
    const loaded = await store.loadSessionSnapshot(RUNTIME);
    const ms = performance.now() - begin;
    if (!loaded || Buffer.compare(loaded, document) !== 0) {
      throw new IncorrectResponseError("the loaded document is not the committed one");
    }
    return ms;
  });
