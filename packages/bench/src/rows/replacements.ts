import { statSync } from "node:fs";
import { join } from "node:path";
import { Random } from "@bolthole/core/testing";
import { Cast } from "../cast.js";
import { startDaemon } from "../peers/peers.js";
import { type Section, atMost, rowOf } from "../report.js";
import { Conversation } from "../sessions/conversation.js";
import type { Run } from "../subject.js";
import { WrongAnswer } from "../wrong-answer.js";

const RUNTIME = "agent:replacements";
const SESSION = "0198f0a0-0004-7000-8000-000000000001";
const TURN_BYTES = 8000;

/** What is left in the data file of documents that others replaced. */
export function replacements(run: Run): Promise<Section> {
  return Cast.with(async (cast) => {
    const [count, bytes] = run.isShort ? [6, 200_000] : [1000, 20_000_000];
    const server = await cast.started(startDaemon(run.folder));
    const store = await cast.connected(server.target);
    // They have nothing in common, and each comes again only after two others.
    const documents = [1, 2, 3].map((seed) =>
      new Conversation(SESSION, new Random(seed)).growTo(bytes, TURN_BYTES).document(),
    );
    let live: Buffer = Buffer.alloc(0);
    for (let index = 0; index <= count; index += 1) {
      run.rounds.signal.throwIfAborted();
      run.rounds.onProgress(`replacements: ${String(index)} of ${String(count)}`);
      live = documents[index % documents.length] ?? live;
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: live });
    }
    const loaded = await store.loadSessionSnapshot(RUNTIME);
    if (!loaded || Buffer.compare(loaded, live) !== 0) throw new WrongAnswer("the loaded document is not the last one");
    await cast.stop(server);
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
