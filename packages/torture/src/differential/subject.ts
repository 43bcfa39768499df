import type { RuntimeId } from "@bolthole/contract";
import {
  DEFAULT_CHECK_OPTIONS,
  DEFAULT_LIMITS,
  type Engine,
  type EngineStore,
  type RowKey,
  createEngineStore,
} from "@bolthole/core";
import type { SimulatedClock } from "@bolthole/core/testing";
import type { Random } from "../random.js";
import { type Disguise, ObservedStore } from "./observed-store.js";
import type { Storage } from "./storages.js";
import { type StoreNames, VersionPairs } from "./version-pairs.js";

/** The same in every store, and small enough that a round meets some of the limits. */
const LIMITS = {
  ...DEFAULT_LIMITS,
  inputRowBytes: 64 * 1024,
  typedOpsSnapshotBytes: 48 * 1024,
  operationSnapshotBytes: 256 * 1024,
};

/** The bounds of the outcomes that every store keeps. */
interface Retention {
  readonly maxCount: number;
  readonly maxAgeSeconds: number;
}

/** The settings of a store. All but `incremental` are the same for all stores of a round. */
interface SubjectOptions {
  /** Whether the store makes incremental checks. */
  readonly incremental: boolean;
  readonly clock: SimulatedClock;
  readonly retention: Retention;
  readonly control?: Control | undefined;
}

/** Breaks one of the stores. The comparison must find it. */
export interface Control {
  /** Whether the store with this name is broken. */
  readonly breaks: (name: string) => boolean;
  readonly engine?: (engine: Engine) => Engine;
  readonly store?: (store: EngineStore) => EngineStore;
}

/** One of the stores that are compared: a storage, and the store over its engine. */
export class Subject {
  /** The runtimes that the last check before a start found to be damaged. */
  readonly damagedRuntimes = new Set<RuntimeId>();
  private opened: { readonly engine: Engine; readonly observed: ObservedStore } | undefined;
  private versionPairs: VersionPairs | undefined;

  constructor(
    readonly storage: Storage,
    private readonly options: SubjectOptions,
  ) {}

  get name(): string {
    return `${this.storage.name}, incremental checks ${this.options.incremental ? "on" : "off"}`;
  }

  get engine(): Engine {
    return this.present.engine;
  }

  get names(): StoreNames {
    return this.present.engine;
  }

  get observed(): ObservedStore {
    return this.present.observed;
  }

  /** Opens the storage. The reference is the store whose versions the steps use. */
  async open(reference: StoreNames | undefined, isChecked = false): Promise<void> {
    const { incremental, clock, retention } = this.options;
    const opened = await this.storage.open(isChecked);
    const { damagedRuntimes } = opened;
    const control = this.options.control?.breaks(this.name) ? this.options.control : undefined;
    const engine = control?.engine?.(opened.engine) ?? opened.engine;
    for (const runtimeId of damagedRuntimes) this.damagedRuntimes.add(runtimeId);
    const store = createEngineStore(engine, {
      clock,
      outcomeRetention: retention,
      limits: LIMITS,
      checks: incremental ? DEFAULT_CHECK_OPTIONS : { incremental: false, memoryBytes: 0 },
      damagedRuntimes: this.damagedRuntimes,
    });
    this.versionPairs ??= new VersionPairs(reference ?? engine, engine);
    this.opened = { engine, observed: new ObservedStore(control?.store?.(store) ?? store, this.versionPairs) };
  }

  async close(): Promise<void> {
    this.opened = undefined;
    await this.storage.close();
  }

  get pairs(): VersionPairs {
    if (!this.versionPairs) throw new TypeError("the store was never opened");
    return this.versionPairs;
  }

  /** Performs one step. What can be observed of it is in `observed` then. Returns undefined when a call was refused. */
  async perform<T>(disguise: Disguise, send: (observed: ObservedStore) => Promise<T>): Promise<T | undefined> {
    const { observed } = this;
    observed.begin(disguise);
    try {
      return await send(observed);
    } catch (error) {
      if (observed.observations.some(({ refusal }) => refusal)) return undefined;
      throw error;
    }
  }

  /** Damages one of these rows while the engine is closed. */
  damage(keys: readonly RowKey[], random: Random): Promise<string | undefined> {
    return this.storage.damage?.(keys, random) ?? Promise.resolve(undefined);
  }

  private get present(): { readonly engine: Engine; readonly observed: ObservedStore } {
    if (!this.opened) throw new TypeError(`the store ${this.name} is not open`);
    return this.opened;
  }
}
