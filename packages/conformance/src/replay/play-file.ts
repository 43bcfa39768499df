import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { StoreFactory } from "../store-factory.js";
import { type TraceOptions, playTrace } from "./play-trace.js";
import { playVectors } from "./play-vectors.js";
import type { Replayed } from "./replay-report.js";
import { isTrace, parseLines } from "./trace.js";
import type { Vector } from "./vector.js";

export interface FileOptions extends TraceOptions {
  /** How many traces are played at the same time, each on a site of its own. */
  readonly atOnce?: number | undefined;
}

/** Plays a file of traces, or of one family of vectors, which is known by the file's name. */
export async function playFile(path: string, factory: StoreFactory, options: FileOptions = {}): Promise<Replayed[]> {
  const lines = parseLines(await readFile(path, "utf8"));
  const traces = lines.filter(isTrace);
  if (traces.length < lines.length) {
    if (traces.length > 0) throw new Error(`${path} has both traces and other lines`);
    return playVectors(basename(path, ".jsonl"), lines as Vector[], factory, options);
  }
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
