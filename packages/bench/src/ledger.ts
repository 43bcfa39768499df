import type { BoltholeStore } from "@bolthole/client";
import type { MachineLifecycle, StoredInputState, VersionedStore } from "@bolthole/contract";
import { writeInputState } from "@bolthole/json";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { WrongAnswer } from "./wrong-answer.js";

const CREATED_AT = "2026-05-28T15:31:27.123456789Z";
const LIFECYCLE: MachineLifecycle = {
  runtimeState: "idle",
  binding: { agentRuntimeId: "agent-bench", fenceToken: 7n },
};
const LIFECYCLE_BYTES = encodeLifecycleRecord(LIFECYCLE);
const SETUP_CALLERS = 64;
const PROGRESS_EVERY = 1000;

export const runtimeIdOf = (runtime: number): string => `agent:bench:${String(runtime).padStart(7, "0")}`;

/** A row of about 240 bytes as it is stored; every attempt makes another one. */
export const inputRow = (runtime: number, attemptCount: number, index = 0): StoredInputState => ({
  inputId: `0198f0a0-0000-7000-${(0x8000 + index).toString(16)}-${runtime.toString(16).padStart(12, "0")}`,
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: CREATED_AT,
  updatedAt: CREATED_AT,
});

type LedgerStore = Pick<
  BoltholeStore,
  "storeId" | "commitMachineLifecycle" | "loadInputState" | "loadMachineLifecycleRecord"
> & { readonly versioned: Pick<VersionedStore, "persistInputState" | "loadInputState"> };

/**
 * Many runtimes with input rows on one server, and what was last committed of them. In a loop of N callers each
 * has every N-th runtime for itself, so that the last committed row is known.
 */
export class Ledger {
  private readonly attempts: number[];

  constructor(
    private readonly store: LedgerStore,
    /** A multiple of every number of callers. */
    readonly runtimes: number,
    /** One of them is committed and loaded; the others are there. */
    private readonly inputsEach = 1,
  ) {
    this.attempts = new Array<number>(runtimes).fill(0);
  }

  /** Which runtime a caller's next call is about. */
  runtime(callers: number, caller: number, call: number): number {
    return (call * callers + caller) % this.runtimes;
  }

  /** Answers the version in the answer, and the attempt that the row carries. */
  async commit(runtime: number): Promise<{ version: string; attempt: number }> {
    const attempt = (this.attempts[runtime] ?? 0) + 1;
    const answer = await this.store.versioned.persistInputState({
      runtimeId: runtimeIdOf(runtime),
      state: inputRow(runtime, attempt),
      expectedStoreId: this.store.storeId,
    });
    this.attempts[runtime] = attempt;
    if (answer.replayed) throw new WrongAnswer(`a new request was answered as a replayed one: ${runtimeIdOf(runtime)}`);
    return { version: answer.version, attempt };
  }

  /** Looks at the row as far as costs nothing; `verify` looks at all of it. */
  async load(runtime: number): Promise<void> {
    const { inputId, attemptCount } = inputRow(runtime, this.attempts[runtime] ?? 0);
    const loaded = await this.store.versioned.loadInputState({ runtimeId: runtimeIdOf(runtime), inputId });
    if (loaded?.value.inputId !== inputId || loaded.value.attemptCount !== attemptCount) {
      throw new WrongAnswer(
        `${runtimeIdOf(runtime)}: attempt ${String(attemptCount)} of ${inputId} was committed, ` +
          `${loaded ? `attempt ${String(loaded.value.attemptCount)}` : "nothing"} was loaded`,
      );
    }
  }

  async loadLifecycle(runtime: number): Promise<void> {
    const record = await this.store.loadMachineLifecycleRecord(runtimeIdOf(runtime));
    if (!record || Buffer.compare(record, LIFECYCLE_BYTES) !== 0) {
      throw new WrongAnswer(`${runtimeIdOf(runtime)}: the loaded lifecycle record is not the committed one`);
    }
  }

  /** Commits the first rows and the lifecycle record of every runtime. */
  async fill(onProgress: (done: number) => void = () => undefined): Promise<void> {
    await this.forEach(async (runtime) => {
      const rows = Array.from({ length: this.inputsEach }, (_, index) => inputRow(runtime, 0, index));
      await this.store.commitMachineLifecycle(runtimeIdOf(runtime), LIFECYCLE, rows);
      if (runtime % PROGRESS_EVERY === 0) onProgress(runtime);
    });
  }

  /** Loads everything and compares it to the byte with what was committed last. */
  async verify(): Promise<void> {
    await this.forEach(async (runtime) => {
      const expected = inputRow(runtime, this.attempts[runtime] ?? 0);
      const loaded = await this.store.loadInputState(runtimeIdOf(runtime), expected.inputId);
      if (!loaded || Buffer.compare(writeInputState(loaded), writeInputState(expected)) !== 0) {
        throw new WrongAnswer(`${runtimeIdOf(runtime)}: the loaded input row is not the committed one`);
      }
      await this.loadLifecycle(runtime);
    });
  }

  private async forEach(work: (runtime: number) => Promise<void>): Promise<void> {
    let next = 0;
    const caller = async (): Promise<void> => {
      while (next < this.runtimes) {
        next += 1;
        await work(next - 1);
      }
    };
    await Promise.all(Array.from({ length: SETUP_CALLERS }, caller));
  }
}
