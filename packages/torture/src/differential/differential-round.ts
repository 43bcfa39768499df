import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Finding, exportContents, importContents, isDamageFinding } from "@bolthole/contract";
import type { RowKey } from "@bolthole/core";
import { SimulatedClock } from "@bolthole/core/testing";
import type { Random } from "../random.js";
import { ComparedStores, DifferenceError } from "./compared-stores.js";
import { type Damage, type DamagedTarget, keysOf, touches } from "./damage.js";
import { contentsAfterImport, contentsOf, contentsText } from "./moved-stores.js";
import { plainOf } from "./observation.js";
import { completeContents, deleteCopy, importSome, loadEverything, loadOauth, prune } from "./read-steps.js";
import { Runtimes } from "./runtimes.js";
import { SimulatedIds } from "./simulated-ids.js";
import { type Step, type StepContext, writeStep } from "./step.js";
import { type Storage, storagesIn } from "./storages.js";
import { type Control, Subject } from "./subject.js";
import { WriteSteps } from "./write-steps.js";

interface RoundOptions {
  readonly random: Random;
  /** A folder that does not exist yet. */
  readonly folder: string;
  readonly control?: Control | undefined;
}

const COMPARE_EVERY = 40;
const DAY_SECONDS = 24 * 60 * 60;
const MAX_COUNTS = [20, 60, 100_000] as const;

const WEIGHTS = {
  write: 700,
  loads: 90,
  oauth: 10,
  clock: 80,
  prune: 20,
  import: 30,
  deleteCopy: 10,
  reopen: 30,
  move: 3,
};

/** Applies random steps to six stores, and compares every response and, from time to time, the complete contents. */
export class DifferentialRound {
  readonly counts: Record<string, number> = {};
  private readonly stores: ComparedStores;
  private readonly context: StepContext;
  private readonly writes: WriteSteps;
  private damage: Damage | undefined;
  /** The damage of outcomes, which only their age ends. */
  private readonly damagedOutcomes: Damage[] = [];
  private step = 0;
  private moves = 0;

  constructor(private readonly options: RoundOptions) {
    const { random, folder, control } = options;
    mkdirSync(folder);
    const [truth, clock] = [new SimulatedClock(), new SimulatedClock()];
    const retention = { maxCount: random.pick(MAX_COUNTS), maxAgeSeconds: DAY_SECONDS };
    const subjects = [true, false].flatMap((incremental) =>
      storagesIn(join(folder, incremental ? "incremental" : "full")).map(
        (storage): Subject => new Subject(storage, { incremental, clock, retention, control }),
      ),
    );
    this.stores = new ComparedStores(subjects);
    const ids = new SimulatedIds(random, truth, clock);
    const runtimes = new Runtimes(random, ids.next);
    this.context = { random, ids, runtimes, reference: () => this.stores.reference.observed.store };
    this.writes = new WriteSteps(this.context);
  }

  /** Runs a number of steps. Rejects with the step and both responses when two stores differ. */
  async run(steps: number): Promise<void> {
    try {
      await this.stores.open(false);
      for (this.step = 1; this.step <= steps; this.step += 1) {
        await this.next();
        if (this.damage && this.step >= this.damage.endsAt) await this.heal(this.damage);
        if (this.step % COMPARE_EVERY === 0) await this.compareContents();
      }
      if (this.damage) await this.heal(this.damage);
      await this.compareContents();
      await this.checkEngines();
    } catch (error) {
      const damage = this.damage ? `\n  damaged in ${this.damage.subject.name}: ${this.damage.description}` : "";
      throw new Error(`step ${this.step}: ${error instanceof Error ? (error.stack ?? "") : String(error)}${damage}`, {
        cause: error,
      });
    } finally {
      await this.stores.close();
    }
  }

  private async next(): Promise<void> {
    const { context } = this;
    const { random, ids } = context;
    const kind = random.weighted(WEIGHTS);
    switch (kind) {
      case "write":
        return this.perform(await this.writes.next());
      case "loads":
        return this.perform(loadEverything(context, this.runtimeToLoad()));
      case "oauth":
        return this.perform(loadOauth());
      case "prune":
        return this.perform(prune());
      case "import":
        return this.perform(await importSome(context));
      case "deleteCopy":
        return this.perform(deleteCopy(context));
      case "clock":
        ids.moveClock();
        this.count("moved clock");
        return;
      case "reopen":
        return this.reopen();
      case "move":
        return this.move();
    }
  }

  /** Returns the damaged runtime more often than the others. */
  private runtimeToLoad(): string {
    const { random, runtimes } = this.context;
    const target = this.damage?.target;
    return target && "runtimeId" in target && random.oneIn(2) ? target.runtimeId : runtimes.pick().runtimeId;
  }

  private async perform(step: Step): Promise<void> {
    this.count(step.isMutation ? "changes" : "loads");
    const [damage, another] = [...this.damagedOutcomes, ...(this.damage ? [this.damage] : [])].filter(({ target }) =>
      touches(target, step.touched),
    );
    // Two damaged stores could refuse a step for reasons of their own.
    if (another) return;
    const { applied, document, isSkipped } = await this.stores.perform(step, damage);
    if (isSkipped) {
      this.count("refused as damaged");
      return;
    }
    for (const { refusal } of this.stores.reference.observed.observations) if (refusal) this.count(refusal.reason);
    if (applied) this.count(applied.replayed ? "replayed" : "applied");
    if (applied && !applied.replayed) await step.applied(applied.version, document);
    // The responses of a damaged store differ, also when they are repeated.
    if (step.isMutation && !damage) this.writes.noteRepeatable(step);
  }

  private async compareContents(): Promise<void> {
    this.count("compared contents");
    const { damage } = this;
    const without = damage && "runtimeId" in damage.target ? [damage.target.runtimeId] : [];
    await this.stores.perform(completeContents(this.context, without), undefined);
    if (!damage || !("oauth" in damage.target)) await this.perform(loadOauth());
  }

  /** Opens all stores again, and sometimes damages a record of one of them meanwhile. */
  private async reopen(): Promise<void> {
    const { random } = this.context;
    const durable = this.stores.subjects.filter(({ storage }) => storage.damage);
    const subject = durable[random.below(durable.length)];
    const target = this.damage || random.oneIn(4) ? undefined : this.chooseTarget();
    const keys = target ? await this.keysOfTarget(target) : [];
    const { commitSequence } = await this.stores.reference.engine.stats();
    await this.stores.close();
    const description = target && (await subject?.storage.damage?.(keys, random));
    await this.stores.open(random.oneIn(5));
    this.count("reopened");
    if (!target || !subject || description === undefined) return;
    this.count(`damaged ${subject.storage.name}`);
    const damage = { subject, target, description, endsAt: this.step + 5 + random.below(50) };
    subject.pairs.loosen(commitSequence);
    if ("requestId" in target) this.damagedOutcomes.push(damage);
    else this.damage = damage;
    if ("runtimeId" in target) await this.perform(loadEverything(this.context, target.runtimeId));
    if ("oauth" in target) await this.perform(loadOauth());
  }

  private chooseTarget(): DamagedTarget | undefined {
    const { random, runtimes } = this.context;
    const kind = random.weighted({ runtime: 15, oauth: 2, outcome: 1 });
    if (kind === "oauth") return { oauth: true };
    if (kind === "runtime") return { runtimeId: runtimes.pick().runtimeId };
    const requestId = this.writes.recentRequestId();
    return requestId === undefined ? undefined : { requestId };
  }

  private async keysOfTarget(target: DamagedTarget): Promise<RowKey[]> {
    if ("oauth" in target) return [{ table: "oauth" }];
    if ("requestId" in target) return [{ table: "outcome", requestId: target.requestId }];
    const contents = await exportContents(this.context.reference(), { runtimeId: target.runtimeId });
    return contents ? keysOf(contents) : [];
  }

  /** Deletes or replaces the damaged record in all stores. From then on, all of them must agree again. */
  private async heal(damage: Damage): Promise<void> {
    const { target, subject } = damage;
    if ("requestId" in target) return;
    this.count("healed");
    if ("runtimeId" in target && this.context.random.oneIn(3)) await this.importOver(target.runtimeId, subject);
    const { isSkipped } = await this.stores.perform(healing(target), damage);
    if (isSkipped) {
      const found = JSON.stringify(subject.observed.observations);
      throw new DifferenceError(`${subject.name} did not replace or delete a damaged record: ${found}`);
    }
    this.damage = undefined;
    if ("runtimeId" in target) {
      this.context.runtimes.forget(target.runtimeId);
      await this.perform(loadEverything(this.context, target.runtimeId));
    }
    await this.compareContents();
  }

  /** Imports the contents of the reference over a damaged runtime. */
  private async importOver(runtimeId: string, subject: Subject): Promise<void> {
    const expected = await exportContents(this.context.reference(), { runtimeId });
    if (!expected) return;
    await importContents(subject.observed.store, { contents: expected, overwrite: true, dryRun: false });
    const found = await exportContents(subject.observed.store, { runtimeId });
    if (JSON.stringify(await plainOf(found)) !== JSON.stringify(await plainOf(expected))) {
      throw new DifferenceError(`${subject.name} has other contents after an import over damage`);
    }
  }

  /** Moves the contents of a store into an empty one, and copies a store by a backup or by its files. */
  private async move(): Promise<void> {
    if (this.damage) return;
    this.count("moved");
    this.moves += 1;
    const { random } = this.context;
    const { subjects } = this.stores;
    const folder = join(this.options.folder, `moved-${this.moves}`);
    const from = subjects[random.below(subjects.length)] ?? this.stores.reference;
    const expected = await contentsText(this.context.reference());
    const texts = [await contentsAfterImport(from.observed.store, random.pick(storagesIn(folder)))];
    const copies: Storage[] = [];
    for (const [index, { storage }] of subjects.entries()) {
      if (storage.copy) copies.push(await storage.copy(join(folder, `copy-${index}`), this.context.ids.trueTimeMs));
    }
    for (const copy of copies) texts.push(await contentsOf(copy));
    const at = texts.findIndex((text) => text !== expected);
    if (at >= 0)
      throw new DifferenceError(`a moved store (${at}) has other contents: ${String(texts[at])}\n${expected}`);
    rmSync(folder, { recursive: true });
    await this.stores.close();
    await this.stores.open(false);
  }

  /** Lets the engines check themselves. A damaged outcome may still be there. */
  private async checkEngines(): Promise<void> {
    for (const { engine, name } of this.stores.subjects) {
      const findings: Finding[] = [];
      await engine.check?.({ onFinding: (finding) => findings.push(finding) });
      const mayBeDamaged = this.damagedOutcomes.some(({ subject }) => subject.name === name);
      const damage = findings.filter((finding) => isDamageFinding(finding) && !mayBeDamaged);
      if (damage.length > 0) throw new DifferenceError(`${name}: the check found ${JSON.stringify(damage)}`);
    }
  }

  private count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }
}

/** Returns the step after which a damaged record is gone. It has no request id, because the clock may be wrong. */
function healing(target: Exclude<DamagedTarget, { readonly requestId: string }>): Step {
  if ("oauth" in target) {
    const snapshot = Buffer.from("a new value");
    return writeStep("a new OAuth value", { oauth: true }, ({ facade }) =>
      facade.persistAuthOauthFlowSnapshot({ snapshot }),
    );
  }
  const { runtimeId } = target;
  return writeStep("DeleteRuntime of the damaged runtime", { runtimeIds: [runtimeId] }, ({ facade }) =>
    facade.deleteRuntime({ runtimeId }),
  );
}
