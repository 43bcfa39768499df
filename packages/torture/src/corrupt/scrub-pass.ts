import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { DAEMON } from "../daemon-main.js";

const LIMIT_MS = 60_000;
const POLL_MS = 200;

/** What a pass of a daemon's scrub found, as `bolthole status --json` tells it. */
export interface ScrubPass {
  readonly findingCount: number;
  readonly findings: readonly { readonly code: string; readonly runtimeId?: string; readonly text: string }[];
}

/** Waits for a pass that began from now on. */
export async function nextPass(data: string): Promise<ScrubPass> {
  const { passes } = await scrubOf(data);
  for (const limit = Date.now() + LIMIT_MS; Date.now() < limit;) {
    await sleep(POLL_MS);
    const scrub = await scrubOf(data);
    if (scrub.last && Number(scrub.passes) >= Number(passes) + 2) {
      return { ...scrub.last, findingCount: Number(scrub.last.findingCount) };
    }
  }
  throw new Error(`no pass of the scrub came to its end within ${String(LIMIT_MS)} ms`);
}

interface ScrubJson {
  readonly passes: string;
  readonly last?: { readonly findingCount: string; readonly findings: ScrubPass["findings"] };
}

async function scrubOf(data: string): Promise<ScrubJson> {
  const { stdout } = await promisify(execFile)(process.execPath, [DAEMON, "status", "--data", data, "--json"]);
  return (JSON.parse(stdout) as { readonly scrub: ScrubJson }).scrub;
}
