import { type Finding, type RuntimeId, isDamageFinding } from "@bolthole/contract";
import type { CheckListener, CheckResult, Engine, FileGuard, MaintainedEngine } from "@bolthole/core";
import type { DamagedRuntimesFile } from "./folder/damaged-runtimes.js";
import type { Log } from "./log.js";

/** Whether the rows of a runtime cannot be relied on, even those that match their checksums: they may be old ones. */
export const refusesRuntime = ({ code }: Finding): boolean => code === "head-differs" || code === "head-missing";

/** Whether a check could not compare the manifest of the runtime with all its rows, or found a difference. */
const leavesDoubt = (finding: Finding): boolean =>
  refusesRuntime(finding) || finding.code === "pages-damaged" || finding.code === "row-space-damaged";

/** Returns the key of the line about a damaged record, so that a check and the loads of the record have one line together. */
export const damageKey = (runtimeId: RuntimeId | undefined, record: string): string =>
  JSON.stringify(["damage", runtimeId, record]);

/** Logs that a record is damaged: what it is, and at the level debug, where it is. `bolthole verify` has all of it. */
export function reportDamage(log: Log, facts: object, details: object): void {
  log.error(facts, "a stored record is damaged; bolthole verify names its runtime");
  log.debug({ ...facts, details }, "the place of the damaged record");
}

/**
 * The damage that was found in a store, before it was opened and since. Each finding is logged once.
 *
 * A runtime whose manifest is missing or does not match its rows is refused from then on, also after a restart. The refusal ends
 * when the runtime is deleted or replaced, or when a check finds that its manifest matches its rows.
 */
export class KnownDamage {
  private readonly refused = new Map<RuntimeId, Finding>();
  private file: Pick<DamagedRuntimesFile, "save"> | undefined;

  constructor(private readonly log: Log) {}

  /**
   * Loads the runtimes that were refused before, and keeps all of them in the file from now on. `guard` throws when the files of the
   * store are not at their paths any more: the file may be the one of another store then.
   */
  keepIn(file: DamagedRuntimesFile, guard: FileGuard | undefined): void {
    for (const finding of file.load()) {
      if (finding.runtimeId === undefined || this.refused.has(finding.runtimeId)) continue;
      this.add(finding);
    }
    this.file = {
      save(findings) {
        guard?.();
        file.save(findings);
      },
    };
    if (this.refused.size > 0) this.save();
  }

  /** The runtimes that are refused. `delete` ends the refusal of a runtime that was deleted or replaced. */
  get runtimes(): Pick<Set<RuntimeId>, "size" | "has" | "delete"> {
    const { refused } = this;
    return {
      get size() {
        return refused.size;
      },
      has: (runtimeId) => refused.has(runtimeId),
      delete: (runtimeId) => this.release(runtimeId),
    };
  }

  /** The ids of the runtimes that are refused. */
  get runtimeIds(): RuntimeId[] {
    return [...this.refused.keys()];
  }

  add(finding: Finding): void {
    const { code, runtimeId, record } = finding;
    if (runtimeId !== undefined && refusesRuntime(finding) && !this.refused.has(runtimeId)) {
      this.refused.set(runtimeId, finding);
      this.save();
    }
    if (this.log.isNew(damageKey(runtimeId, record ?? code))) reportDamage(this.log, { code, record }, finding);
  }

  /** Takes the result of a check that has read all rows of a runtime. */
  checked(runtimeId: RuntimeId, findings: readonly Finding[]): void {
    if (!this.refused.has(runtimeId) || findings.some(leavesDoubt)) return;
    this.release(runtimeId);
    this.log.info("a runtime is served again: its manifest matches its rows");
    this.log.debug({ runtimeId }, "the runtime is served again");
  }

  /** Returns the engine with a check whose findings, and whose absence of findings, count here too. */
  watching(engine: Engine): MaintainedEngine {
    const check = engine.check?.bind(engine);
    const backUp = engine.backUp?.bind(engine);
    const compact = engine.compact?.bind(engine);
    const { name, durable } = engine;
    return {
      name,
      durable,
      stats: () => engine.stats(),
      ...(backUp && { backUp }),
      ...(compact && { compact }),
      ...(check && { check: (listener: CheckListener) => this.watch(check, listener) }),
    };
  }

  private async watch(check: NonNullable<Engine["check"]>, listener: CheckListener): Promise<CheckResult> {
    // A runtime that is refused later was damaged after the state that this check reads.
    const before = this.runtimeIds;
    const doubtful = new Set<RuntimeId | undefined>();
    const result = await check({
      ...listener,
      onFinding: (finding) => {
        if (leavesDoubt(finding)) doubtful.add(finding.runtimeId);
        // Unfinished deletions are findings, too, but no damage.
        if (isDamageFinding(finding)) this.add(finding);
        listener.onFinding(finding);
      },
    });
    const isComplete = result.counts !== undefined && !doubtful.has(undefined);
    if (isComplete) for (const runtimeId of before) if (!doubtful.has(runtimeId)) this.checked(runtimeId, []);
    return result;
  }

  private release(runtimeId: RuntimeId): boolean {
    const wasRefused = this.refused.delete(runtimeId);
    if (wasRefused) this.save();
    return wasRefused;
  }

  private save(): void {
    try {
      this.file?.save([...this.refused.values()]);
    } catch (error) {
      this.log.error(
        { err: error },
        "the list of damaged runtimes could not be written; it is complete until the daemon stops",
      );
    }
  }
}
