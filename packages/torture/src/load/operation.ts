import { createHash } from "node:crypto";
import type { Call, ExpectedVersion, RuntimeMutation, StoreErrorReason, VersionedStore } from "@bolthole/contract";
import type { Effect, RecordKey } from "../ledger.js";
import type { Random } from "../random.js";
import { freshId } from "./records.js";
import { SessionScript } from "./session-script.js";

export interface SessionSize {
  readonly firstMessageBytes: number;
  /** A document that is larger is cleared, and a new session begins. */
  readonly documentBytes: number;
}

interface StoredSnapshot {
  readonly version: string;
  readonly sha256: Buffer;
  readonly bytes: number;
}

/** The state of a runtime that its only writer has written. The next operation is made from it. */
export class RuntimeState {
  inputIds: string[] = [];
  receipts: { readonly runId: string; readonly sequence: bigint }[] = [];
  runId: string;
  sequence = 0n;
  fenceToken = 0n;
  hasLifecycle = false;
  /** The version of each stored record. */
  readonly versions = new Map<RecordKey, string>();
  snapshot: StoredSnapshot | undefined;
  session: SessionScript;

  constructor(
    readonly runtimeId: string,
    readonly size: SessionSize,
    random: Random,
    /** Makes all ids. The ids of two runs with one seed differ unless the caller passes a function that repeats them. */
    readonly newId: () => string = freshId,
  ) {
    this.runId = newId();
    this.session = this.newSession(random);
  }

  newSession(random: Random): SessionScript {
    return new SessionScript(this.newId(), this.size.firstMessageBytes, random);
  }

  /** Notes the version of a record; undefined means that the record was deleted. */
  noteVersion(key: RecordKey, version: string | undefined): void {
    if (version === undefined) this.versions.delete(key);
    else this.versions.set(key, version);
  }

  /** Drops every record, because the runtime was deleted. Fence tokens still grow. */
  clear(random: Random): void {
    this.inputIds = [];
    this.receipts = [];
    this.hasLifecycle = false;
    this.snapshot = undefined;
    this.session = this.newSession(random);
  }

  addInputs(inputIds: readonly string[]): void {
    for (const inputId of inputIds) if (!this.inputIds.includes(inputId)) this.inputIds.push(inputId);
  }
}

export const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** The expectations of a mutation, and the refusal that must follow when they are wrong. */
interface Expectations {
  readonly carried: Pick<RuntimeMutation, "expectedFenceToken" | "expectedVersions">;
  readonly refusedAs?: StoreErrorReason | undefined;
}

const NO_EXPECTATIONS: Expectations = { carried: {} };

const MOST_VERSIONS = 3;

/** Chooses expectations: mostly none, sometimes correct ones, rarely wrong ones. */
export function expectationsOf(random: Random, state: RuntimeState): Expectations {
  switch (random.weighted({ nothing: 60, fence: 20, versions: 16, oldFence: 2, oldVersion: 2 })) {
    case "nothing":
      return NO_EXPECTATIONS;
    case "fence":
      return state.hasLifecycle ? { carried: { expectedFenceToken: state.fenceToken } } : NO_EXPECTATIONS;
    case "oldFence": {
      // Without a lifecycle record every token is refused.
      const expectedFenceToken = state.fenceToken - (state.hasLifecycle ? 1n : 0n);
      return { carried: { expectedFenceToken }, refusedAs: "FENCE_CONFLICT" };
    }
    case "versions":
      return { carried: { expectedVersions: someVersions(random, state) } };
    case "oldVersion": {
      const [first, ...rest] = someVersions(random, state);
      // This version never existed, so that a copy of the request that arrives late is refused as well.
      const wrong = first && { ...first, version: "gone.1" };
      return wrong
        ? { carried: { expectedVersions: [...rest, wrong] }, refusedAs: "VERSION_CONFLICT" }
        : NO_EXPECTATIONS;
    }
  }
}

/** Returns the present versions of some records. */
function someVersions(random: Random, { versions, inputIds }: RuntimeState): ExpectedVersion[] {
  const all: ExpectedVersion[] = [
    { record: "session_snapshot", version: versions.get("snapshot") },
    { record: "machine_lifecycle", version: versions.get("lifecycle") },
    { record: "ops_lifecycle", version: versions.get("ops") },
    ...inputIds.map((inputId) => ({
      record: "input_state" as const,
      inputId,
      version: versions.get(`input ${inputId}`),
    })),
  ];
  const wanted = 1 + random.below(MOST_VERSIONS);
  return all.filter(() => random.below(all.length) < wanted);
}

export interface Acknowledgement {
  readonly version: string;
  readonly replayed: boolean;
  /** The fault in the rest of the response, if there is one. */
  readonly wrong?: string | undefined;
}

/** One mutation with its arguments. It can be sent any number of times with the same request id. */
export interface Operation {
  readonly id: string;
  readonly runtime: string;
  readonly method: string;
  readonly effects: readonly Effect[];
  /** The number of the value that an OAuth update would write. */
  readonly link?: number | undefined;
  /** Whether the operation is a compare-and-set that may miss or must miss. */
  readonly misses: "never" | "maybe" | "always";
  /** The refusal that must follow, when the expectations are wrong. */
  readonly refusedAs?: StoreErrorReason | undefined;
  /** Sends the operation. Returns undefined when the compare-and-set missed. */
  send(store: VersionedStore, call: Call): Promise<Acknowledgement | undefined>;
  /** Notes that the operation was applied. */
  adopt(version: string): void;
}

/** The values from which an operation is made. */
export interface OperationContext extends Pick<Expectations, "carried"> {
  readonly random: Random;
  readonly state: RuntimeState;
  readonly id: string;
}

export type OperationFactory = (context: OperationContext) => Operation;
