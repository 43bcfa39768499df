import type { Finding, RuntimeId } from "@bolthole/contract";
import { type Engine, quarantine } from "@bolthole/core";
import type { Log } from "./log.js";

/** Of a store that falls apart, GetStatus and `bolthole verify` say more than a log should. */
const MOST_LOGGED = 1000;

/**
 * What was found to be damaged, before the store was opened or since. Each finding is logged once. Runtimes whose books do not
 * fit are answered as damaged from then on, until the next start finds otherwise.
 */
export class KnownDamage {
  private readonly untrusted = new Set<RuntimeId>();
  private readonly logged = new Set<string>();

  constructor(private readonly log: Log) {}

  add(finding: Finding): void {
    const { code, runtimeId, record } = finding;
    if (runtimeId !== undefined && (code === "head-differs" || code === "head-missing")) this.untrusted.add(runtimeId);
    const name = JSON.stringify([code, runtimeId, record]);
    if (this.logged.has(name) || this.logged.size === MOST_LOGGED) return;
    this.logged.add(name);
    this.log.error({ finding }, "a stored record is damaged");
  }

  /** The engine for everybody but those who look for damage. */
  guard(engine: Engine): Engine {
    return quarantine(engine, this.untrusted);
  }
}
