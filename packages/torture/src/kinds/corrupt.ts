import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess, type Ending } from "@bolthole/conformance/process";
import { StoreError, type StoredInputState } from "@bolthole/contract";
import { decodeLifecycleRecord } from "@bolthole/contract/wire";
import { LedgerModel, type RuntimeModel } from "../check/ledger-model.js";
import { type BaseStore, MUTATIONS, copyStore, makeBaseStore } from "../corrupt/damaged-store.js";
import { DAEMON, nextPass } from "../daemon.js";
import { STORE } from "../ledger.js";
import { INSTANT, type StoredRecord, loadInputs, loadRecord } from "../load/records.js";
import { Random } from "../random.js";
import {
  type Kind,
  type RunOptions,
  type RunReport,
  Violations,
  hasNextCycle,
  preloadEnvironment,
  secondsSince,
} from "../run.js";

const LIMIT_MS = 60_000;
/** The exit codes for an unusable data folder and for a damaged store. */
const REFUSALS: readonly (number | null)[] = [3, 10];
/** A scrub pass ends quickly, and the next one starts a second later. */
const FAST_SCRUB = ["--scrub-rate", "1GiB", "--scrub-interval", "1s"];
const NEW_INPUT: StoredInputState = {
  inputId: "0198f01a-0000-7000-8000-00000000c0de",
  currentState: "accepted",
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  createdAt: INSTANT,
  updatedAt: INSTANT,
};

export const corrupt: Kind = {
  name: "corrupt",
  description:
    "stores with flipped bits, zeroed, swapped, stale and torn pages, truncated files, and files of another format",
  mountsDisk: false,
  run: (options) => new CorruptRun(options).run(),
};

/** Each cycle starts a daemon over one mutated copy of a store that a real load wrote. */
class CorruptRun {
  private readonly random: Random;
  private readonly violations = new Violations();
  private readonly model = new LedgerModel(this.violations);
  private readonly outcomes = new Map<string, { refused: number; untouched: number; damaged: number }>();
  private loads = { correct: 0, damaged: 0 };
  private scrubs = 0;
  private restarts = 0;
  private cycles = 0;

  constructor(private readonly options: RunOptions) {
    this.random = new Random(options.seed);
  }

  async run(): Promise<RunReport> {
    const { folder, seed, onCycle } = this.options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const startedAt = performance.now();
    const base = await makeBaseStore(folder, seed, this.model);
    while (hasNextCycle(this.options, this.cycles, this.violations)) {
      this.cycles += 1;
      const result = await this.cycle(base, join(folder, `store-${String(this.cycles)}`));
      onCycle({ cycle: this.cycles, ...result }, `store ${String(this.cycles)}: ${result.mutation}: ${result.outcome}`);
    }
    return {
      kind: corrupt.name,
      seed,
      cycles: this.cycles,
      seconds: secondsSince(startedAt),
      violations: this.violations.all,
      acknowledged: this.model.counts.acknowledged,
      events: this.eventsOf(),
      lines: [
        `${String(this.model.counts.acknowledged)} acknowledged writes in ${String(this.model.runtimes.size - 1)} runtimes of each store`,
        ...[...this.outcomes].map(
          ([name, { refused, untouched, damaged }]) =>
            `${name}: refused ${String(refused)}x, served undamaged ${String(untouched)}x, served with damage ${String(damaged)}x`,
        ),
        `${String(this.scrubs)} scrub passes named the runtimes that the loads found damaged`,
        `${String(this.restarts)} stores were accepted by a full check after ordinary writes over the damage`,
        `${String(this.loads.correct)} records read as they were written, ${String(this.loads.damaged)} reported as damaged`,
      ],
    };
  }

  private eventsOf(): Record<string, number> {
    const events = { refused: 0, "served undamaged": 0, "served with damage": 0 };
    for (const { refused, untouched, damaged } of this.outcomes.values()) {
      events.refused += refused;
      events["served undamaged"] += untouched;
      events["served with damage"] += damaged;
    }
    return {
      ...events,
      "records read correctly": this.loads.correct,
      "records reported as damaged": this.loads.damaged,
    };
  }

  private async cycle(base: BaseStore, data: string): Promise<{ mutation: string; outcome: string }> {
    const mutation = MUTATIONS[this.random.below(MUTATIONS.length)] ?? MUTATIONS[0];
    if (!mutation) throw new RangeError("there must be a mutation");
    copyStore(base, data);
    writeFileSync(join(data, "data.mdb"), mutation.apply(Buffer.from(base.file), base.older, this.random));
    // Both ways make the daemon check the whole store before it serves.
    const isUnclean = this.random.below(2) === 0;
    if (isUnclean) writeFileSync(join(data, "running"), "");
    const args = ["--log-level", "warn", ...FAST_SCRUB, ...(isUnclean ? [] : ["--check", "full"])];
    const { preload } = this.options;
    const env = preloadEnvironment(preload);
    const daemon = new DaemonProcess({ main: DAEMON, data, args, env });
    let outcome: "refused" | "untouched" | "damaged" | "wrong" = "wrong";
    const before = this.loads.damaged;
    try {
      const ending = await started(daemon);
      if (ending) {
        outcome = this.judgeRefusal(mutation.name, ending, daemon.output);
      } else {
        await this.judgeService(mutation.name, daemon, data);
        outcome = this.loads.damaged > before ? "damaged" : "untouched";
      }
    } catch (error) {
      this.violations.add("stays in service", mutation.name, `store ${String(this.cycles)}: ${String(error)}`);
    } finally {
      await daemon.stop("SIGKILL");
    }
    const counts = this.outcomes.get(mutation.name) ?? { refused: 0, untouched: 0, damaged: 0 };
    if (outcome !== "wrong") counts[outcome] += 1;
    this.outcomes.set(mutation.name, counts);
    if (this.violations.all.length === 0) rmSync(data, { recursive: true, force: true });
    else writeFileSync(join(data, "daemon.log"), daemon.output);
    return { mutation: mutation.name, outcome };
  }

  private judgeRefusal(mutation: string, ending: Ending, output: string): "refused" | "wrong" {
    const isClear = /^bolthole: /m.test(output) && !/^\s+at /m.test(output);
    if (REFUSALS.includes(ending.code) && isClear) return "refused";
    const how = String(ending.code ?? ending.signal);
    this.violations.add("restart", mutation, `did not serve, and ended with ${how}: ${output.slice(-500)}`);
    return "wrong";
  }

  private async judgeService(mutation: string, daemon: DaemonProcess, data: string): Promise<void> {
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    const damaged = new Set<string>();
    let replaced: ReadonlySet<string> = new Set();
    try {
      for (const model of this.model.runtimes.values()) {
        const before = this.loads.damaged;
        await this.compare(store, model, mutation);
        if (this.loads.damaged > before) damaged.add(model.runtimeId);
      }
      await this.judgeScrub(mutation, data, damaged);
      await this.checkNewWrites(store, mutation);
      replaced = await this.replaceRecords(store);
    } finally {
      await store.close();
    }
    const ending = await daemon.stop("SIGTERM");
    if (ending?.code === 0) {
      await this.judgeRestart(mutation, data, replaced);
      return;
    }
    this.violations.add(
      "stays in service",
      mutation,
      `the daemon ended with ${String(ending?.code ?? ending?.signal)} after it had served`,
    );
  }

  /** Replaces a record of each table by ordinary writes, damaged or not. Returns the runtimes in which all of them succeeded. */
  private async replaceRecords(store: BoltholeStore): Promise<ReadonlySet<string>> {
    const replaced = new Set<string>();
    for (const { runtimeId, records } of this.model.runtimes.values()) {
      if (runtimeId === STORE) continue;
      const inputs = [...records.keys()].flatMap((key) => (key.startsWith("input ") ? [key.slice(6)] : []));
      try {
        for (const inputId of inputs) await store.persistInputState(runtimeId, { ...NEW_INPUT, inputId });
        await store.commitMachineLifecycle(runtimeId, { runtimeState: "idle", binding: { fenceToken: 1n } }, []);
        await store.deleteOpsLifecycle(runtimeId);
        replaced.add(runtimeId);
      } catch (error) {
        if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
      }
    }
    return replaced;
  }

  /**
   * Starts the daemon again with a check of everything. Ordinary writes over damaged records must not make a manifest wrong: the
   * store must be accepted, and no runtime in which they succeeded may be refused.
   */
  private async judgeRestart(mutation: string, data: string, replaced: ReadonlySet<string>): Promise<void> {
    const args = ["--log-level", "warn", "--scrub-rate", "off", "--check", "full"];
    const daemon = new DaemonProcess({ main: DAEMON, data, args, env: preloadEnvironment(this.options.preload) });
    try {
      const ending = await started(daemon);
      if (ending) {
        const text = `refused after ordinary writes: ${daemon.output.slice(-500)}`;
        this.violations.add("restart", mutation, text);
        return;
      }
      const store = await connect(daemon.target, { timeoutMs: 30_000 });
      try {
        for (const runtimeId of replaced) await this.judgeReplaced(store, mutation, runtimeId);
      } finally {
        await store.close();
      }
      this.restarts += 1;
    } finally {
      await daemon.stop("SIGKILL");
    }
  }

  private async judgeReplaced(store: BoltholeStore, mutation: string, runtimeId: string): Promise<void> {
    try {
      const { value } = (await store.versioned.loadMachineLifecycleRecord({ runtimeId })) ?? {};
      if (value && decodeLifecycleRecord(value).binding.fenceToken === 1n) return;
      this.violations.add("correct responses", runtimeId, `${mutation}: the replaced lifecycle record was not loaded`);
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
      const text = `${mutation}: the runtime is refused after ordinary writes replaced its damaged rows: ${error.message}`;
      this.violations.add("correct responses", runtimeId, text);
    }
  }

  /** Each record must equal the ledger's, or be reported as damaged with the name of its runtime. */
  private async compare(store: BoltholeStore, model: RuntimeModel, mutation: string): Promise<void> {
    const { runtimeId, records } = model;
    const isStore = runtimeId === STORE;
    for (const [key, wanted] of records) {
      await this.judge(mutation, runtimeId, key, wanted, () => loadRecord(store.versioned, runtimeId, key));
    }
    if (isStore) return;
    for (const key of ["snapshot", "lifecycle", "ops"].filter((one) => !records.has(one))) {
      await this.judge(mutation, runtimeId, key, undefined, () => loadRecord(store.versioned, runtimeId, key));
    }
    const inputs = new Map([...records].filter(([key]) => key.startsWith("input ")));
    const text = (rows: ReadonlyMap<string, StoredRecord>): string => JSON.stringify([...rows].sort());
    await this.judge(mutation, runtimeId, "all inputs", { digest: text(inputs), version: "" }, async () => ({
      digest: text(await loadInputs(store.versioned, runtimeId)),
      version: "",
    }));
  }

  private async judge(
    mutation: string,
    runtimeId: string,
    key: string,
    wanted: StoredRecord | undefined,
    load: () => Promise<StoredRecord | undefined>,
  ): Promise<void> {
    let seen: StoredRecord | undefined;
    try {
      seen = await load();
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
      if (runtimeId !== STORE && error.subject.runtimeId !== runtimeId) {
        this.violations.add(
          "correct responses",
          runtimeId,
          `${mutation}: ${key} is damaged, but the error names runtime ${String(error.subject.runtimeId)}`,
        );
      }
      this.loads.damaged += 1;
      return;
    }
    if (seen?.digest === wanted?.digest && seen?.version === wanted?.version) this.loads.correct += 1;
    else {
      const expected = wanted ? `version ${wanted.version}` : "nothing";
      const found = seen ? `version ${seen.version}` : "nothing";
      this.violations.add(
        "correct responses",
        runtimeId,
        `${mutation}: ${key}: expected ${expected} or an error, found ${found}`,
      );
    }
  }

  /** Checks that a scrub pass names every runtime with a record that was reported as damaged, and no other. */
  private async judgeScrub(mutation: string, data: string, damaged: ReadonlySet<string>): Promise<void> {
    const { findings, findingCount } = await nextPass(data);
    // The list of findings is limited.
    if (findingCount > findings.length) return;
    const named = new Set(findings.map(({ runtimeId }) => runtimeId ?? STORE));
    const missed = [...damaged].filter((runtimeId) => !named.has(runtimeId));
    for (const runtimeId of missed) {
      this.violations.add(
        "correct responses",
        runtimeId,
        `${mutation}: loads report the runtime as damaged, but the scrub does not`,
      );
    }
    // Request outcomes belong to no runtime, and no load has read them.
    const only = findings.filter(({ runtimeId }) => runtimeId !== undefined && !damaged.has(runtimeId));
    for (const finding of only) {
      const text = JSON.stringify(finding);
      this.violations.add(
        "correct responses",
        finding.runtimeId ?? STORE,
        `${mutation}: only the scrub reports ${text}`,
      );
    }
    this.scrubs += 1;
  }

  /** Checks that new runtimes can be written and read although the store is damaged. */
  private async checkNewWrites(store: BoltholeStore, mutation: string): Promise<void> {
    for (let round = 0; round < 20; round += 1) {
      const runtimeId = `after the damage ${String(round)}`;
      await store.commitSessionSnapshot(runtimeId, {
        sessionSnapshot: Buffer.alloc(50_000, runtimeId),
        profile: "opaque",
      });
      await store.persistInputState(runtimeId, NEW_INPUT);
      const rows = await store.loadInputStates(runtimeId);
      if (rows.length !== 1)
        this.violations.add("stays in service", mutation, `${runtimeId}: expected 1 row, found ${String(rows.length)}`);
    }
  }
}

/** Starts the daemon. Returns how it ended before it served, or undefined when it serves. */
async function started(daemon: DaemonProcess): Promise<Ending | undefined> {
  const settled = new AbortController();
  const late = sleep(LIMIT_MS, undefined, { signal: settled.signal }).then(() => {
    throw new Error(`the daemon neither serves nor has ended after ${String(LIMIT_MS)} ms`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([
      daemon.start().then(
        () => undefined,
        () => daemon.ended,
      ),
      late,
    ]);
  } finally {
    settled.abort();
  }
}
