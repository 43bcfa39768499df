import type { HorizonControl, RuntimeStore, RuntimeTransfer, VersionedStore } from "@bolthole/contract";
import type { Capabilities, Capability } from "./store-factory.js";

/** The store that a case works with, and the controls over it. The store is empty when the case starts. */
export interface CaseContext {
  readonly capabilities: Capabilities;
  /** The store of the handle that is open now: read it again after `reopen`. */
  readonly store: RuntimeStore;
  /** The same store with versions. Only for cases that need `versions`. */
  readonly versioned: VersionedStore;
  /** The transfer of whole runtimes, and the horizon. Only for cases that need `transfers`. */
  readonly transfer: RuntimeTransfer & HorizonControl;
  /** Holds back every mutation until the returned function is called. Only for cases that need `holds`. */
  hold(): () => void;
  /** Closes the handle and opens another one on the same data. */
  reopen(): Promise<void>;
}

/** One requirement on every store. */
export interface ConformanceCase {
  readonly chapter: string;
  /** A sentence about the behaviour of the store, unique within its chapter. */
  readonly name: string;
  /** The case is skipped when the store lacks one of these. */
  readonly needs: readonly Capability[];
  /** Rejects when the store breaks the requirement. The error says what was expected and what was found. */
  run(context: CaseContext): Promise<void>;
}

/** The cases about one subject. */
export interface Chapter {
  readonly name: string;
  /**
   * The whole chapter is skipped when the store lacks one of these. When the store has them all, at least one case must
   * run, or the chapter fails.
   */
  readonly needs: readonly Capability[];
  readonly cases: readonly ConformanceCase[];
}

type Run = ConformanceCase["run"];
type CaseOfChapter = Omit<ConformanceCase, "chapter">;

/** Describes a case of a chapter: a sentence, the capabilities that it needs besides those of the chapter, and the check. */
export function testCase(name: string, needs: readonly Capability[], run: Run): CaseOfChapter;
export function testCase(name: string, run: Run): CaseOfChapter;
export function testCase(name: string, ...rest: [readonly Capability[], Run] | [Run]): CaseOfChapter {
  return rest.length === 1 ? { name, needs: [], run: rest[0] } : { name, needs: rest[0], run: rest[1] };
}

/** Makes a chapter of its cases, which need everything that the chapter needs. */
export const chapter = (name: string, needs: readonly Capability[], cases: readonly CaseOfChapter[]): Chapter => ({
  name,
  needs,
  cases: cases.map((one) => ({ ...one, chapter: name, needs: [...new Set([...needs, ...one.needs])] })),
});

/** Returns the needed capabilities that a store lacks. */
export const missingCapabilities = (needs: readonly Capability[], capabilities: Capabilities): Capability[] =>
  needs.filter((capability) => !capabilities[capability]);
