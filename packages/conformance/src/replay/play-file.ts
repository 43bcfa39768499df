import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { RuntimeStore } from "@bolthole/contract";
import { missingCapabilities } from "../chapter.js";
import type { StoreFactory } from "../store-factory.js";
import { HAS_DATA, type TraceOptions, playTrace } from "./play-trace.js";
import { type Replayed, describeError, judged, skipped } from "./report.js";
import { type Trace, isTrace, parseLines } from "./trace.js";
import type { Family, Vector } from "./vector.js";
import { FAMILIES } from "./vector-families.js";

export interface FileOptions extends TraceOptions {
  /** The number of traces that are played at the same time, each on a separate site. Default: 1. */
  readonly atOnce?: number | undefined;
}

/**
 * Returns the folder of the recordings: `shared/vectors` in the folder that contains the checkout. The checkout is found
 * upwards from `inside`. Returns undefined when there are no recordings; tests then say so and skip.
 */
export function vectorsFolder(inside: string): string | undefined {
  for (let folder = inside; folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, "pnpm-workspace.yaml"))) continue;
    const vectors = join(folder, "..", "shared", "vectors");
    return existsSync(vectors) ? vectors : undefined;
  }
  return undefined;
}

/** Plays a file of traces, or a file of vectors, whose family is the file's name. */
export async function playFile(path: string, factory: StoreFactory, options: FileOptions = {}): Promise<Replayed[]> {
  const lines = parseLines(await readFile(path, "utf8"));
  const traces = lines.filter(isTrace);
  if (traces.length === lines.length) return playTraces(traces, factory, options);
  if (traces.length > 0) {
    throw new Error(`${path}: expected only traces or only vectors, found ${traces.length} traces of ${lines.length}`);
  }
  return playVectors(basename(path, ".jsonl"), lines as Vector[], factory, options);
}

async function playTraces(traces: readonly Trace[], factory: StoreFactory, options: FileOptions): Promise<Replayed[]> {
  const replayed: Replayed[] = [];
  const waiting = [...traces.entries()];
  const player = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [index, trace] = next;
      replayed[index] = await playTrace(trace, factory, options);
    }
  };
  await Promise.all(Array.from({ length: options.atOnce ?? 1 }, player));
  return replayed;
}

/** Vectors that are played at the same time. Each uses a different runtime of one store. */
const VECTORS_AT_ONCE = 16;

async function playVectors(
  name: string,
  vectors: readonly Vector[],
  factory: StoreFactory,
  options: TraceOptions,
): Promise<Replayed[]> {
  const family = FAMILIES[name];
  if (!family) {
    const names = Object.keys(FAMILIES).join(", ");
    throw new Error(`${name}.jsonl: expected traces, or vectors in a file named after their family (${names})`);
  }
  const missing = missingCapabilities(family.needs, factory.capabilities);
  if (missing.length > 0) return vectors.map((vector) => skipped(vector.name, `needs ${missing.join(", ")}`));
  const site = await factory.createSite();
  try {
    const handle = await site.open();
    const replayed: Replayed[] = [];
    for (let at = 0; at < vectors.length; at += VECTORS_AT_ONCE) {
      const some = vectors.slice(at, at + VECTORS_AT_ONCE);
      replayed.push(...(await Promise.all(some.map((vector) => playVector(family, vector, handle.store, options)))));
    }
    await handle.close();
    return replayed;
  } finally {
    await site.remove();
  }
}

async function playVector(
  family: Family,
  vector: Vector,
  store: RuntimeStore,
  { hasDataOf }: TraceOptions,
): Promise<Replayed> {
  try {
    if (await hasDataOf?.(new Set([vector.name]), false)) return skipped(vector.name, HAS_DATA);
    const verdict = await family.play(vector, store, vector.name);
    return "skip" in verdict ? skipped(vector.name, verdict.skip) : judged(vector.name, verdict);
  } catch (error) {
    return judged(vector.name, [{ op: "play", expected: "a verdict", found: describeError(error) }]);
  }
}
