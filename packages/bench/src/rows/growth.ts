import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Random } from "@bolthole/core/testing";
import { Cast } from "../cast.js";
import { startDaemon } from "../peers/peers.js";
import { type Section, atMost, rowOf } from "../report.js";
import { Conversation } from "../sessions/conversation.js";
import { LiveSession } from "../sessions/live-session.js";
import type { Run } from "../subject.js";

const SESSION = "0198f0a0-0003-7000-8000-000000000001";
const TURN_BYTES = 2000;
const TURNS_A_REWRITE = 10;
/** Messages at the end that a compaction leaves alone. */
const KEPT_TAIL = 40;
const REWRITES = 20;
const REWRITES_SHORT = 3;

/** What a session with many turns and rewrites takes on the disk, each of its messages counted once. */
export function growth(run: Run): Promise<Section> {
  return Cast.with(async (cast) => {
    const rewrites = run.isShort ? REWRITES_SHORT : REWRITES;
    const server = await cast.started(startDaemon(run.folder));
    const conversation = new Conversation(SESSION, new Random(3));
    const session = new LiveSession(await cast.connected(server.target), "agent:growth", conversation, 1);
    await session.start();
    for (let turn = 1; turn <= rewrites * TURNS_A_REWRITE; turn += 1) {
      run.rounds.signal.throwIfAborted();
      run.rounds.onProgress(`growth: turn ${String(turn)}`);
      await session.turn(TURN_BYTES)();
      if (turn % TURNS_A_REWRITE === 0) await session.rewrite(1, Math.max(2, conversation.length - KEPT_TAIL))();
    }
    await session.verify();
    const documentBytes = conversation.document().length;
    await cast.stop(server);
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

/** What the files of a folder really take. */
const allocatedBytes = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).blocks * BLOCK_BYTES, 0);
