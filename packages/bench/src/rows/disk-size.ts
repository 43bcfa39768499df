import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Random } from "@bolthole/core/testing";
import { IncorrectResponseError } from "../load/loops.js";
import { type Section, atMost, rowOf } from "../report.js";
import type { Run } from "../rounds.js";
import { Resources, startDaemon } from "../servers/server-process.js";
import { Conversation } from "../sessions/conversation.js";
import { LiveSession } from "../sessions/live-session.js";

const SESSION = "0198f0a0-0003-7000-8000-000000000001";
const TURN_BYTES = 2000;
const TURNS_A_REWRITE = 10;
/** The number of messages at the end that a compaction keeps. */
const KEPT_TAIL = 40;
const REWRITES = 20;
const REWRITES_SHORT = 3;

/** Measures the size on disk of a session with many turns and rewrites, relative to its distinct messages. */
export function growth(run: Run): Promise<Section> {
  return Resources.with(async (resources) => {
    const rewrites = run.isShort ? REWRITES_SHORT : REWRITES;
    const server = await resources.started(startDaemon(run.folder));
    const conversation = new Conversation(SESSION, new Random(3));
    const session = new LiveSession(await resources.connected(server.target), "agent:growth", conversation, 1);
    await session.start();
    for (let turn = 1; turn <= rewrites * TURNS_A_REWRITE; turn += 1) {
      run.rounds.signal.throwIfAborted();
      run.rounds.onProgress(`growth: turn ${String(turn)}`);
      await session.turn(TURN_BYTES)();
      if (turn % TURNS_A_REWRITE === 0) await session.rewrite(1, Math.max(2, conversation.length - KEPT_TAIL))();
    }
    await session.verify();
    const documentBytes = conversation.document().length;
    await resources.stop(server);
    const { distinctBytes } = conversation;
    const name = `${String(rewrites * TURNS_A_REWRITE)} turns and ${String(rewrites)} rewrites`;
    return {
      title: "A session that grows and is rewritten",
      cells: [],
      rows: [
        rowOf({
          name: `${name}: size on disk against its distinct messages`,
          values: [allocatedBytes(join(run.folder, "daemon")) / distinctBytes],
          unit: "times",
          goal: atMost(3),
          isJudged: !run.isShort,
          note: "the reference: 21.6 times, measured apart",
        }),
        rowOf({
          name: `${name}: document against its distinct messages`,
          values: [documentBytes / distinctBytes],
          unit: "times",
        }),
      ],
    };
  });
}

const BLOCK_BYTES = 512;

/** Returns the allocated size of the files in a folder. */
const allocatedBytes = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).blocks * BLOCK_BYTES, 0);

const RUNTIME = "agent:replacements";
const REPLACED_SESSION = "0198f0a0-0004-7000-8000-000000000001";
const LARGE_TURN_BYTES = 8000;

/** Measures the size of the data file after many documents were replaced. */
export function replacements(run: Run): Promise<Section> {
  return Resources.with(async (resources) => {
    const [count, bytes] = run.isShort ? [6, 200_000] : [1000, 20_000_000];
    const server = await resources.started(startDaemon(run.folder));
    const store = await resources.connected(server.target);
    // They have no content in common, and each is repeated only after the two others.
    const documents = [1, 2, 3].map((seed) =>
      new Conversation(REPLACED_SESSION, new Random(seed)).growTo(bytes, LARGE_TURN_BYTES).document(),
    );
    let live: Buffer = Buffer.alloc(0);
    for (let index = 0; index <= count; index += 1) {
      run.rounds.signal.throwIfAborted();
      run.rounds.onProgress(`replacements: ${String(index)} of ${String(count)}`);
      live = documents[index % documents.length] ?? live;
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: live });
    }
    const loaded = await store.loadSessionSnapshot(RUNTIME);
    if (!loaded || Buffer.compare(loaded, live) !== 0)
      throw new IncorrectResponseError("the loaded document is not the last one");
    await resources.stop(server);
    return {
      title: "Documents that replace each other",
      cells: [],
      rows: [
        rowOf({
          name: `${count.toLocaleString("en")} replacements of a whole document: data file against live bytes`,
          values: [statSync(join(run.folder, "daemon", "data.mdb")).size / live.length],
          unit: "times",
          goal: atMost(5),
          isJudged: !run.isShort,
        }),
      ],
    };
  });
}
