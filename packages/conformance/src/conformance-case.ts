import type { RuntimeStore, VersionedStore } from "@bolthole/contract";
import type { Capabilities, Capability } from "./store-factory.js";

/** What a case works with: an empty store. */
export interface CaseContext {
  readonly capabilities: Capabilities;
  /** Of the handle that is open now. */
  readonly store: RuntimeStore;
  /** Only in cases that need `versions`. */
  readonly versioned: VersionedStore;
  /** Only in cases that need `holds`. */
  hold(): () => void;
  /** Closes the handle and opens another one on the same data. */
  reopen(): Promise<void>;
}

/** One step of a chapter: a sentence about every store, and a proof that throws when it is not so. */
export interface ConformanceCase {
  readonly chapter: string;
  readonly name: string;
  readonly needs: readonly Capability[];
  run(context: CaseContext): Promise<void>;
}

export interface Chapter {
  readonly name: string;
  /** Without these the whole chapter is skipped, by its name. Otherwise a chapter that runs no case fails. */
  readonly needs: readonly Capability[];
  readonly cases: readonly ConformanceCase[];
}

type Run = ConformanceCase["run"];
type Step = Omit<ConformanceCase, "chapter">;

export function step(name: string, needs: readonly Capability[], run: Run): Step;
export function step(name: string, run: Run): Step;
export function step(name: string, ...rest: [readonly Capability[], Run] | [Run]): Step {
  return rest.length === 1 ? { name, needs: [], run: rest[0] } : { name, needs: rest[0], run: rest[1] };
}

export const chapter = (name: string, needs: readonly Capability[], steps: readonly Step[]): Chapter => ({
  name,
  needs,
  cases: steps.map((one) => ({ ...one, chapter: name, needs: [...new Set([...needs, ...one.needs])] })),
});

export const missing = (needs: readonly Capability[], capabilities: Capabilities): Capability[] =>
  needs.filter((capability) => !capabilities[capability]);
