import type { BoltholeStore } from "@bolthole/client";
import type { MachineLifecycle, StoredInputState, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { writeInputState } from "@bolthole/json";
import { IncorrectResponseError } from "./loops.js";

const CREATED_AT = "2026-05-28T15:31:27.123456789Z";
const LIFECYCLE: MachineLifecycle = {
  runtimeState: "idle",
  binding: { agentRuntimeId: "agent-bench", fenceToken: 7n },
};
const LIFECYCLE_BYTES = encodeLifecycleRecord(LIFECYCLE);
const SETUP_CALLERS = 64;
const PROGRESS_EVERY = 1000;

export const runtimeIdOf = (runtime: number): string => `agent:bench:${String(runtime).padStart(7, "0")}`;

/** Makes an input row of about 240 stored bytes. Each attempt makes a different row. */
export const inputRow = (runtime: number, attemptCount: number, index = 0): StoredInputState => ({
  inputId: `0198f0a0-0000-7000-${(0x8000 + index).toString(16)}-${runtime.toString(16).padStart(12, "0")}`,
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: CREATED_AT,
  updatedAt: CREATED_AT,
});

type RowStore = Pick<
  BoltholeStore,
  "storeId" | "commitMachineLifecycle" | "loadInputState" | "loadMachineLifecycleRecord"
> & { readonly versioned: Pick<VersionedStore, "persistInputState" | "loadInputState"> };

/**
 * Many runtimes with input rows on one server, and the last committed attempt of each. In a loop of N callers each caller
 * uses every N-th runtime alone, so that the last committed row is known.
 */
export class RuntimeRows {
  private readonly attempts: number[];

  constructor(
    private readonly store: RowStore,
    /** A multiple of every number of callers. */
    readonly runtimes: number,
    /** The first one is committed and loaded; the others are only stored. */
    private readonly inputsEach = 1,
  ) {
    this.attempts = new Array<number>(runtimes).fill(0);
  }

  /** Returns the runtime of a caller's next call. */
  runtime(callers: number, caller: number, call: number): number {
    return (call * callers + caller) % this.runtimes;
  }

  /** Commits the next row. Returns the version in the response, and the attempt in the row. */
  async commit(runtime: number): Promise<{ version: string; attempt: number }> {
    const attempt = (this.attempts[runtime] ?? 0) + 1;
    const response = await this.store.versioned.persistInputState({
      runtimeId: runtimeIdOf(runtime),
      state: inputRow(runtime, attempt),
      expectedStoreId: this.store.storeId,
    });
    this.attempts[runtime] = attempt;
    if (response.replayed)
      throw new IncorrectResponseError(`the response to a new request has replayed set: ${runtimeIdOf(runtime)}`);
    return { version: response.version, attempt };
  }

  /** Loads the row and compares two cheap members; `verify` compares all bytes. */
  async load(runtime: number): Promise<void> {
    const { inputId, attemptCount } = inputRow(runtime, this.attempts[runtime] ?? 0);
    const loaded = await this.store.versioned.loadInputState({ runtimeId: runtimeIdOf(runtime), inputId });
    if (loaded?.value.inputId !== inputId || loaded.value.attemptCount !== attemptCount) {
      throw new IncorrectResponseError(
        `${runtimeIdOf(runtime)}: attempt ${String(attemptCount)} of ${inputId} was committed, ` +
          `${loaded ? `attempt ${String(loaded.value.attemptCount)}` : "nothing"} was loaded`,
      );
    }
  }

  async loadLifecycle(runtime: number): Promise<void> {
    const record = await this.store.loadMachineLifecycleRecord(runtimeIdOf(runtime));
    if (!record || Buffer.compare(record, LIFECYCLE_BYTES) !== 0) {
      throw new IncorrectResponseError(`${runtimeIdOf(runtime)}: the loaded lifecycle record is not the committed one`);
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

  /** Loads everything and compares all bytes with what was committed last. */
  async verify(): Promise<void> {
    await this.forEach(async (runtime) => {
      const expected = inputRow(runtime, this.attempts[runtime] ?? 0);
      const loaded = await this.store.loadInputState(runtimeIdOf(runtime), expected.inputId);
      if (!loaded || Buffer.compare(writeInputState(loaded), writeInputState(expected)) !== 0) {
        throw new IncorrectResponseError(`${runtimeIdOf(runtime)}: the loaded input row is not the committed one`);
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
