import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess, type Ending } from "@bolthole/conformance/process";
import { StoreError } from "@bolthole/contract";
import { Findings } from "../check/findings.js";
import { Model } from "../check/model.js";
import type { RuntimeModel } from "../check/runtime-model.js";
import { type BaseStore, copyStore, makeBaseStore } from "../corrupt/base-store.js";
import { MUTATIONS } from "../corrupt/mutation.js";
import { nextPass } from "../corrupt/scrub-pass.js";
import { DAEMON } from "../daemon-main.js";
import { STORE } from "../ledger/lines.js";
import { type Seen, loadInputs, loadRecord } from "../load/load-record.js";
import { Random } from "../random.js";
import type { Trial, TrialOptions, TrialReport } from "./trial.js";

const LIMIT_MS = 60_000;
/** The data folder cannot be used; the store is damaged. */
const REFUSALS: readonly (number | null)[] = [3, 10];
/** A whole pass is over in a moment, and the next one begins a second later. */
const FAST_SCRUB = ["--scrub-rate", "1GiB", "--scrub-interval", "1s"];
const INPUT_ID = "0198f01a-0000-7000-8000-00000000c0de";
const NOW = "2026-05-28T15:31:27Z";

export const corrupt: Trial = {
  name: "corrupt",
  description: "stores with flipped bits, zeroed, swapped, stale and torn pages, cut short, and foreign files",
  run: (options) => new CorruptRun(options).run(),
};

/** Each cycle: one mutated copy of a store that a real load left, under a daemon of its own. */
class CorruptRun {
  private readonly random: Random;
  private readonly findings = new Findings();
  private readonly model = new Model(this.findings);
  private readonly outcomes = new Map<string, { refused: number; untouched: number; damaged: number }>();
  private answers = { right: 0, damaged: 0 };
  private scrubs = 0;
  private cycles = 0;

  constructor(private readonly options: TrialOptions) {
    this.random = new Random(options.seed);
  }

  async run(): Promise<TrialReport> {
    const { folder, seed, cycles, until, interrupted, onCycle } = this.options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const startedAt = performance.now();
    const base = await makeBaseStore(folder, seed, this.model);
    while (
      this.findings.all.length === 0 &&
      this.cycles < cycles &&
      (this.cycles === 0 || Date.now() < until) &&
      !interrupted.aborted
    ) {
      this.cycles += 1;
      const told = await this.cycle(base, join(folder, `store-${String(this.cycles)}`));
      onCycle({ cycle: this.cycles, ...told }, `store ${String(this.cycles)}: ${told.mutation}: ${told.outcome}`);
    }
    return {
      kind: corrupt.name,
      seed,
      cycles: this.cycles,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      findings: this.findings.all,
      lines: [
        `${String(this.model.counts.acknowledged)} acknowledged writes in ${String(this.model.runtimes.size - 1)} runtimes behind each store`,
        ...[...this.outcomes].map(
          ([name, { refused, untouched, damaged }]) =>
            `${name}: refused ${String(refused)}x, served whole ${String(untouched)}x, served with damage ${String(damaged)}x`,
        ),
        `${String(this.scrubs)} passes of the scrub named what the loads found`,
        `${String(this.answers.right)} records read as they were written, ${String(this.answers.damaged)} answered as damaged`,
      ],
    };
  }

  private async cycle(base: BaseStore, data: string): Promise<{ mutation: string; outcome: string }> {
    const mutation = MUTATIONS[this.random.below(MUTATIONS.length)] ?? MUTATIONS[0];
    if (!mutation) throw new RangeError("there are no mutations");
    copyStore(base, data);
    writeFileSync(join(data, "data.mdb"), mutation.apply(Buffer.from(base.file), base.older, this.random));
    // Either way everything is read before it is served.
    const isUnclean = this.random.below(2) === 0;
    if (isUnclean) writeFileSync(join(data, "running"), "");
    const args = ["--log-level", "warn", ...FAST_SCRUB, ...(isUnclean ? [] : ["--check", "full"])];
    const { preload } = this.options;
    const env = preload === undefined ? {} : { NODE_OPTIONS: `--require ${preload}` };
    const daemon = new DaemonProcess({ main: DAEMON, data, args, env });
    let outcome: "refused" | "untouched" | "damaged" | "wrong" = "wrong";
    const before = this.answers.damaged;
    try {
      const ending = await started(daemon);
      if (ending) {
        outcome = this.judgeRefusal(mutation.name, ending, daemon.output);
      } else {
        await this.judgeService(mutation.name, daemon, data);
        outcome = this.answers.damaged > before ? "damaged" : "untouched";
      }
    } catch (error) {
      this.findings.add("goes on", mutation.name, `store ${String(this.cycles)}: ${String(error)}`);
    } finally {
      await daemon.stop("SIGKILL");
    }
    const counts = this.outcomes.get(mutation.name) ?? { refused: 0, untouched: 0, damaged: 0 };
    if (outcome !== "wrong") counts[outcome] += 1;
    this.outcomes.set(mutation.name, counts);
    if (this.findings.all.length === 0) rmSync(data, { recursive: true, force: true });
    else writeFileSync(join(data, "daemon.log"), daemon.output);
    return { mutation: mutation.name, outcome };
  }

  private judgeRefusal(mutation: string, ending: Ending, output: string): "refused" | "wrong" {
    const isClear = /^bolthole: /m.test(output) && !/^\s+at /m.test(output);
    if (REFUSALS.includes(ending.code) && isClear) return "refused";
    const how = String(ending.code ?? ending.signal);
    this.findings.add("restart", mutation, `did not serve, and ended with ${how}: ${output.slice(-500)}`);
    return "wrong";
  }

  private async judgeService(mutation: string, daemon: DaemonProcess, data: string): Promise<void> {
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    try {
      const damaged = new Set<string>();
      for (const model of this.model.runtimes.values()) {
        const before = this.answers.damaged;
        await this.compare(store, model, mutation);
        if (this.answers.damaged > before) damaged.add(model.runtimeId);
      }
      await this.judgeScrub(mutation, data, damaged);
      await this.goOn(store, mutation);
    } finally {
      await store.close();
    }
    const ending = await daemon.stop("SIGTERM");
    if (ending?.code === 0) return;
    this.findings.add(
      "goes on",
      mutation,
      `the daemon ended with ${String(ending?.code ?? ending?.signal)} after it had served`,
    );
  }

  /** Each record is as the ledger says, or answered as damaged with its runtime's name. */
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
    const text = (rows: ReadonlyMap<string, Seen>): string => JSON.stringify([...rows].sort());
    await this.judge(mutation, runtimeId, "all inputs", { digest: text(inputs), version: "" }, async () => ({
      digest: text(await loadInputs(store.versioned, runtimeId)),
      version: "",
    }));
  }

  private async judge(
    mutation: string,
    runtimeId: string,
    key: string,
    wanted: Seen | undefined,
    load: () => Promise<Seen | undefined>,
  ): Promise<void> {
    let seen: Seen | undefined;
    try {
      seen = await load();
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
      if (runtimeId !== STORE && error.subject.runtimeId !== runtimeId) {
        this.findings.add(
          "sound answers",
          runtimeId,
          `${mutation}: ${key} is damaged, and named of ${String(error.subject.runtimeId)}`,
        );
      }
      this.answers.damaged += 1;
      return;
    }
    if (seen?.digest === wanted?.digest && seen?.version === wanted?.version) this.answers.right += 1;
    else {
      const found = seen ? `version ${seen.version}` : "nothing";
      this.findings.add(
        "sound answers",
        runtimeId,
        `${mutation}: ${key} is served as good, ${found} instead of ${wanted?.version ?? "nothing"}`,
      );
    }
  }

  /** A pass over the store names every runtime of which a record was answered as damaged, and no other. */
  private async judgeScrub(mutation: string, data: string, damaged: ReadonlySet<string>): Promise<void> {
    const { findings, findingCount } = await nextPass(data);
    // The list has an end.
    if (findingCount > findings.length) return;
    const named = new Set(findings.map(({ runtimeId }) => runtimeId ?? STORE));
    const missed = [...damaged].filter((runtimeId) => !named.has(runtimeId));
    for (const runtimeId of missed) {
      this.findings.add(
        "sound answers",
        runtimeId,
        `${mutation}: is answered as damaged, and the scrub does not name it`,
      );
    }
    // Request outcomes are of no runtime, and nobody has loaded them.
    const only = findings.filter(({ runtimeId }) => runtimeId !== undefined && !damaged.has(runtimeId));
    for (const finding of only) {
      const told = JSON.stringify(finding);
      this.findings.add("sound answers", finding.runtimeId ?? STORE, `${mutation}: only the scrub finds ${told}`);
    }
    this.scrubs += 1;
  }

  /** What nobody has hurt yet can be written and read. */
  private async goOn(store: BoltholeStore, mutation: string): Promise<void> {
    const state = {
      inputId: INPUT_ID,
      currentState: "accepted",
      attemptCount: 0,
      recoveryCount: 0,
      history: [],
      createdAt: NOW,
      updatedAt: NOW,
    } as const;
    for (let round = 0; round < 20; round += 1) {
      const runtimeId = `after the damage ${String(round)}`;
      await store.commitSessionSnapshot(runtimeId, {
        sessionSnapshot: Buffer.alloc(50_000, runtimeId),
        profile: "opaque",
      });
      await store.persistInputState(runtimeId, state);
      const rows = await store.loadInputStates(runtimeId);
      if (rows.length !== 1) this.findings.add("goes on", mutation, `${runtimeId} has ${String(rows.length)} rows`);
    }
  }
}

/** How the daemon ended before it served, or undefined when it serves. */
async function started(daemon: DaemonProcess): Promise<Ending | undefined> {
  const settled = new AbortController();
  const late = sleep(LIMIT_MS, undefined, { signal: settled.signal }).then(() => {
    throw new Error(`the daemon neither serves nor ends after ${String(LIMIT_MS)} ms`);
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
