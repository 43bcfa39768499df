import { hash } from "node:crypto";
import { transcriptMessagesDigest } from "@bolthole/core";
import { Random, typicalSession } from "@bolthole/core/testing";
import { readSession } from "@bolthole/json";
import { type Row, type Section, atLeast, rowOf } from "../report.js";
import type { Run } from "../rounds.js";

const SIZES = [
  ["10 KB", 10_000],
  ["1 MB", 1_000_000],
  ["10 MB", 10_000_000],
] as const;
const SIZES_SHORT = [SIZES[0]];
const SEED = 1;
/** Shorter measurements are too imprecise. */
const LEAST_MS = 20;

/** Compares reading and digesting a session with `JSON.parse` and SHA-256 of the same bytes. */
export const sessionDocuments = (run: Run): Promise<Section> =>
  Promise.resolve({
    title: "Session documents, in this process",
    cells: [],
    rows: (run.isShort ? SIZES_SHORT : SIZES).flatMap(([name, bytes]) =>
      speedsOf(name, typicalSession(new Random(SEED), bytes), run),
    ),
  });

function speedsOf(size: string, document: Buffer, run: Run): Row[] {
  const works = {
    "read and digest": () => transcriptMessagesDigest(readSession(document).messages),
    "JSON.parse": () => JSON.parse(document.toString()) as unknown,
    "SHA-256": () => hash("sha256", document, "buffer"),
  };
  const speeds = Object.entries(works).map(([name, work]) => [name, [] as number[], work] as const);
  // The operations alternate, so that noise of the machine affects all of them.
  for (let round = 0; round < run.rounds.count; round += 1) {
    for (const [, found, work] of speeds) found.push(megabytesPerSecond(document.length, work, run));
  }
  const [reads, parses] = speeds.map(([, found]) => found);
  return [
    rowOf({
      name: `${size}: read and digest, against JSON.parse`,
      values: (reads ?? []).map((speed, round) => speed / (parses?.[round] ?? Number.NaN)),
      unit: "times",
      goal: atLeast(0.5),
      isJudged: !run.isShort,
    }),
    ...speeds.map(([name, values]) => rowOf({ name: `${size}: ${name}`, values, unit: "MB/s" })),
  ];
}

function megabytesPerSecond(bytes: number, work: () => unknown, run: Run): number {
  const { warmUpMs, measureMs } = run.rounds.window;
  repeat(work, warmUpMs);
  const { count, ms } = repeat(work, Math.max(measureMs, LEAST_MS));
  return (bytes * count) / 1000 / ms;
}

function repeat(work: () => unknown, forMs: number): { count: number; ms: number } {
  const start = performance.now();
  let count = 0;
  let ms = 0;
  do {
    work();
    count += 1;
    ms = performance.now() - start;
  } while (ms < forMs);
  return { count, ms };
}
