import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ScrubPassSchema, ScrubState, type ScrubStatusSchema, encodeFinding } from "@bolthole/contract/wire";
import type { Engine, EngineStore, PassReport, Scrub } from "@bolthole/core";
import { type Config, VERSION } from "./config.js";
import type { Listener } from "./grpc-server.js";
import type { ByteBudget } from "./rpc/byte-budget.js";
import type { Log } from "./log.js";
import type { Admission } from "./rpc/admission.js";
import type { ResponseBudget } from "./rpc/response-budget.js";
import type { DaemonStatus } from "./rpc/services.js";

/** The parts of a running daemon that its status describes. */
export interface StatusSources {
  readonly config: Config;
  readonly engine: Engine;
  readonly store: EngineStore;
  readonly scrub: Scrub | undefined;
  readonly startedAt: Date;
  readonly admission: Admission;
  readonly requestBudget: ByteBudget;
  readonly responses: ResponseBudget;
  readonly listeners: readonly Listener[];
  readonly log: Pick<Log, "output">;
}

/** Returns the response of GetStatus. */
export async function describeStatus(sources: StatusSources): Promise<DaemonStatus> {
  const { config, engine, store, scrub, startedAt, admission, requestBudget, responses, listeners, log } = sources;
  const stats = await engine.stats();
  return {
    version: VERSION,
    pid: process.pid,
    startedAt: startedAt.toISOString(),
    engine: engine.name,
    dataFolder: engine.durable ? config.data : "",
    endpoints: listeners.map(({ target }) => target),
    storeId: engine.storeId,
    commitSequence: BigInt(stats.commitSequence),
    formatVersion: stats.formatVersion,
    storedBytes: BigInt(stats.storedBytes),
    usedBytes: BigInt(stats.usedBytes),
    quotaBytes: config.quota === undefined ? undefined : BigInt(config.quota),
    diskFreeBytes: stats.diskFreeBytes === undefined ? undefined : BigInt(stats.diskFreeBytes),
    keptOutcomes: BigInt(await store.keptOutcomes()),
    requestsInFlight: admission.requests,
    requestBytesInFlight: BigInt(requestBudget.bytes),
    responseBytesInFlight: BigInt(responses.bytes),
    connections: listeners.reduce((total, { connections }) => total + connections, 0),
    residentBytes: BigInt(process.memoryUsage.rss()),
    scrub: describeScrub(scrub),
    droppedLogLines: BigInt(log.output.dropped),
  };
}

function describeScrub(scrub: Scrub | undefined): MessageInitShape<typeof ScrubStatusSchema> {
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
