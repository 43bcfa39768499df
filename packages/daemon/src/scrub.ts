import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ScrubPassSchema, ScrubState, type ScrubStatusSchema, encodeFinding } from "@bolthole/contract/wire";
import { type Engine, type PassReport, Scrub } from "@bolthole/core";
import type { Config } from "./config.js";
import { scrubFile } from "./folder/scrub-file.js";
import type { KnownDamage } from "./known-damage.js";
import type { Log } from "./log.js";

/** Reads the store beside the daemon's work, unless that is turned off or the engine has nothing to check. */
export function startScrub(
  engine: Engine,
  { scrubRate, scrubInterval }: Config,
  home: string,
  damage: KnownDamage,
  log: Log,
): Scrub | undefined {
  if (scrubRate === 0 || !engine.check) return undefined;
  const scrub = new Scrub(engine, {
    bytesPerSecond: scrubRate,
    intervalMs: scrubInterval,
    memory: scrubFile(home, engine.storeId),
    onFinding: (finding) => {
      damage.add(finding);
    },
    onFault: (error) => {
      log.error({ err: error }, "the scrub could not read something");
    },
  });
  scrub.start();
  return scrub;
}

export function describeScrub(scrub: Scrub | undefined): MessageInitShape<typeof ScrubStatusSchema> {
  if (!scrub) return { state: ScrubState.OFF };
  const { isRunning, bytesPerSecond, passes, current, last } = scrub.status();
  return {
    state: isRunning ? ScrubState.RUNNING : ScrubState.RESTING,
    bytesPerSecond: BigInt(bytesPerSecond),
    passes: BigInt(passes),
    current: current && describePass(current),
    last: last && describePass(last),
  };
}

const describePass = (pass: PassReport): MessageInitShape<typeof ScrubPassSchema> => ({
  startedAt: new Date(pass.startedAt).toISOString(),
  endedAt: pass.endedAt === undefined ? "" : new Date(pass.endedAt).toISOString(),
  runtimes: BigInt(pass.runtimes),
  bytes: BigInt(pass.bytes),
  findingCount: BigInt(pass.findingCount),
  findings: pass.findings.map(encodeFinding),
});
