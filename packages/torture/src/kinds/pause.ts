import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UNLEDGERED } from "../ledger/lines.js";
import { fenceRound } from "../pause/fence-round.js";
import type { Kind } from "./kind.js";

const SHORTEST_STOP_MS = 500;
const LONGEST_STOP_MS = 2500;
const FENCE_ROUNDS = 5;

/** SIGSTOP, of the daemon while clients wait, and of a client that does not hear that it was replaced. */
export const pause: Kind = {
  name: "pause",
  description: "SIGSTOP of the daemon for seconds, and of clients whose runtime is taken over meanwhile",
  acknowledgedBefore: 50,
  withinMs: 200,
  endings: [],
  excuses: [],
  isOnOwnDisk: false,
  prepare: (folder) => {
    let rounds = 0;
    return Promise.resolve({
      data: join(folder, "data"),
      strike: async ({ daemon, random, findings, count }) => {
        daemon.signal("SIGSTOP");
        await sleep(SHORTEST_STOP_MS + random.below(LONGEST_STOP_MS - SHORTEST_STOP_MS));
        daemon.signal("SIGCONT");
        count("daemon stopped");
        for (let round = 0; round < FENCE_ROUNDS; round += 1) {
          const name = `${UNLEDGERED} fence ${String((rounds += 1))}`;
          count("writer stopped");
          const problems = await fenceRound({ name, target: daemon.target, folder, random });
          if (problems.length === 0) count("old writer refused");
          for (const problem of problems) findings.add("fencing", name, problem);
        }
        return undefined;
      },
      recover: () => Promise.resolve(),
      dispose: () => Promise.resolve(),
    });
  },
};
