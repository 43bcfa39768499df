import type { EngineStore } from "@bolthole/core";
import { RuntimeState } from "../load/operation.js";
import type { Random } from "../random.js";
import type { BaseDocument } from "./document-shape.js";

/** Ids with all that is special about keys: none, a zero byte, letters of several bytes, and one that is stored as a hash. */
const NAMES = ["", "a", "a\0b", "ä ✓", "project/main", `long ${"x".repeat(1100)}`] as const;

const SIZES = [
  { firstMessageBytes: 300, documentBytes: 30_000 },
  { firstMessageBytes: 2_000, documentBytes: 60_000 },
  /** Documents with an index for incremental checks. */
  { firstMessageBytes: 40_000, documentBytes: 200_000 },
  { firstMessageBytes: 36_000, documentBytes: 120_000 },
  { firstMessageBytes: 60_000, documentBytes: 150_000 },
  /** Documents that are checked in a worker thread. */
  { firstMessageBytes: 140_000, documentBytes: 300_000 },
] as const;

/** The runtimes of a run, with what their writers know of the stored records. */
export class Runtimes {
  readonly states: readonly RuntimeState[];
  /** The stored documents from which patches are made. */
  readonly sessions = new Map<string, BaseDocument>();
  readonly ops = new Map<string, BaseDocument>();
  /** A version of all input rows that was stored once. */
  readonly oldInputsVersions = new Map<string, string>();
  private last: RuntimeState | undefined;

  constructor(
    private readonly random: Random,
    newId: () => string,
  ) {
    this.states = SIZES.map((size, index) => new RuntimeState(NAMES[index] ?? "", size, random, newId));
  }

  /** Returns a runtime, often the one that was used last: a writer sends one turn after the other. */
  pick(): RuntimeState {
    const state = this.random.below(3) > 0 ? this.last : this.states[this.random.below(this.states.length)];
    if (!state) return this.pick();
    return (this.last = state);
  }

  stateOf(runtimeId: string): RuntimeState | undefined {
    return this.states.find((state) => state.runtimeId === runtimeId);
  }

  /** Notes the document that a step has stored; undefined when it was deleted. */
  noteSession(runtimeId: string, document: BaseDocument | undefined): void {
    if (document) this.sessions.set(runtimeId, document);
    else this.sessions.delete(runtimeId);
  }

  /** Notes the JSON of the operation snapshot that a step has stored. */
  noteOps(runtimeId: string, document: BaseDocument | undefined): void {
    if (document) this.ops.set(runtimeId, document);
    else this.ops.delete(runtimeId);
  }

  /** Drops what is known about a runtime that was deleted. */
  forget(runtimeId: string): void {
    const state = this.stateOf(runtimeId);
    state?.clear(this.random);
    state?.versions.clear();
    this.sessions.delete(runtimeId);
    this.ops.delete(runtimeId);
  }

  /** Loads the versions of the input rows again, after a change that kept some of them. */
  async refreshInputs(state: RuntimeState, store: EngineStore): Promise<void> {
    const loaded = await store.loadInputStates({ runtimeId: state.runtimeId });
    for await (const batch of loaded.batches) {
      for (const { value, version } of batch) state.noteVersion(`input ${value.inputId}`, version);
    }
  }
}
