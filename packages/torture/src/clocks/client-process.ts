import { type ChildProcess, fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { OutcomeUnknownError, StoreError } from "@bolthole/contract";
import { freshId, inputRow } from "../load/records.js";
import { Random } from "../random.js";
import type { Violations } from "../run.js";
import type { ClockFile } from "./clock-file.js";

/** The runtime that the client writes. */
const RUNTIME = "clock client";
const CALL_MS = 30_000;
const PAUSE_MS = 12;
const START_MS = 60_000;
const POLL_MS = 20;
/** The rule for ids needs one further attempt after a jump. A jump during that attempt needs another write. */
const MOST_REFUSED_IN_A_ROW = 2;

/** The settings of the process; its only argument, as JSON. */
interface ClientSettings {
  readonly target: string;
  readonly inputId: string;
  readonly seed: number;
}

/** The result of one write. */
interface WriteReport {
  /** The number of the write, which is also in the row. */
  readonly write: number;
  readonly refusal?: string;
  readonly text?: string;
}

/**
 * A TypeScript client in a process whose clock jumps. It makes its ids by the rule of docs/errors.md, so its writes must go on whatever
 * its clock and that of the daemon show.
 */
export class JumpingClient {
  /** The number of acknowledged writes. */
  written = 0;
  private readonly inputId = freshId();
  private readonly child: ChildProcess;
  private lastReported = 0;
  private lastAcknowledged = 0;
  private refusedInARow = 0;

  constructor(target: string, clock: ClockFile, seed: number, violations: Violations) {
    const settings: ClientSettings = { target, inputId: this.inputId, seed };
    this.child = fork(__filename, [JSON.stringify(settings)], { env: { ...process.env, ...clock.environment() } });
    this.child.on("message", ({ write, refusal, text = "" }: WriteReport) => {
      this.lastReported = write;
      if (refusal === undefined) {
        this.written += 1;
        this.lastAcknowledged = write;
        this.refusedInARow = 0;
      } else if (refusal === "time") {
        this.refusedInARow += 1;
        if (this.refusedInARow < MOST_REFUSED_IN_A_ROW) return;
        violations.add(
          "stays in service",
          RUNTIME,
          `${String(this.refusedInARow)} writes in a row were refused: ${text}`,
        );
      } else if (refusal === "other") {
        violations.add("correct responses", RUNTIME, text);
      }
    });
    this.child.once("exit", (code, signal) => {
      if (signal !== "SIGKILL")
        violations.add("correct responses", RUNTIME, `the client ended with ${String(code ?? signal)}`);
    });
  }

  /** Waits until so many further writes were acknowledged. Returns false when the time is over. */
  async untilWritten(more: number, withinMs = START_MS): Promise<boolean> {
    const wanted = this.written + more;
    const limit = performance.now() + withinMs;
    while (this.written < wanted && performance.now() < limit) await sleep(POLL_MS);
    return this.written >= wanted;
  }

  /** Compares the stored row with the acknowledged writes. The client may write meanwhile. */
  async compare(store: BoltholeStore, violations: Violations): Promise<void> {
    const least = this.lastAcknowledged;
    const row = await store.loadInputState(RUNTIME, this.inputId);
    const found = Number(row?.idempotencyKey ?? 0);
    // The report of a write arrives after its row is stored.
    const limit = performance.now() + START_MS;
    while (found > this.lastReported && performance.now() < limit) await sleep(POLL_MS);
    if (found >= least && found <= this.lastReported) return;
    const expected = `from ${String(least)} to ${String(this.lastReported)}`;
    violations.add("acknowledged", RUNTIME, `expected a write ${expected}, found ${String(found)}`);
  }

  end(): void {
    this.child.kill("SIGKILL");
  }
}

async function main({ target, inputId, seed }: ClientSettings): Promise<void> {
  const random = new Random(seed);
  const store = await connect(target, { timeoutMs: CALL_MS });
  for (let write = 1; ; write += 1) {
    const report = await attempt(store, inputRow(random, inputId, String(write)));
    process.send?.({ write, ...report } satisfies WriteReport);
    await sleep(PAUSE_MS);
  }
}

async function attempt(
  store: BoltholeStore,
  row: ReturnType<typeof inputRow>,
): Promise<Pick<WriteReport, "refusal" | "text">> {
  try {
    await store.persistInputState(RUNTIME, row);
    return {};
  } catch (error) {
    const text = String(error);
    if (error instanceof OutcomeUnknownError) return { refusal: "unknown", text };
    if (!(error instanceof StoreError)) return { refusal: "other", text };
    const isOfTime = error.reason === "REQUEST_ID_EXPIRED" || error.reason === "INVALID_ARGUMENT";
    if (isOfTime) return { refusal: "time", text };
    return { refusal: error.retry === "never" ? "other" : "unavailable", text };
  }
}

if (require.main === module) {
  process.on("disconnect", () => process.exit(0));
  void main(JSON.parse(process.argv[2] ?? "") as ClientSettings);
}
