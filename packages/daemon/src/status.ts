import type { Engine, EngineStore, Scrub } from "@bolthole/core";
import type { Config } from "./config.js";
import type { Listener } from "./listener.js";
import type { DaemonStatus } from "./rpc/admin-service.js";
import type { Admission } from "./rpc/admission.js";
import { describeScrub } from "./scrub.js";
import { VERSION } from "./version.js";

/** The parts of a running daemon that its status tells of. */
export interface StatusSources {
  readonly config: Config;
  readonly engine: Engine;
  readonly store: EngineStore;
  readonly scrub: Scrub | undefined;
  readonly startedAt: Date;
  readonly admission: Admission;
  readonly listeners: readonly Listener[];
}

export async function describeStatus(sources: StatusSources): Promise<DaemonStatus> {
  const { config, engine, store, scrub, startedAt, admission, listeners } = sources;
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
    requestBytesInFlight: BigInt(admission.bytes),
    connections: listeners.reduce((total, { connections }) => total + connections, 0),
    residentBytes: BigInt(process.memoryUsage.rss()),
    scrub: describeScrub(scrub),
  };
}
