import type { StoreCounts } from "@bolthole/contract";

const MEBIBYTE = 1024 * 1024;

/** Returns a number of bytes as text, such as `1.5 MiB`. */
export const mebibytes = (bytes: number | bigint): string => `${(Number(bytes) / MEBIBYTE).toFixed(1)} MiB`;

/** Returns a number with its noun, such as `1 runtime` or `2 runtimes`. */
export const counted = (count: number | bigint, singular: string, plural = `${singular}s`): string =>
  `${count.toString()} ${Number(count) === 1 ? singular : plural}`;

/** Returns what a store has, or `unread` when not everything in it could be read. */
export const describeCounts = (counts: StoreCounts | undefined, unread: string): string =>
  counts
    ? [
        counted(counts.runtimes, "runtime"),
        counted(counts.rows, "record"),
        counted(counts.outcomes, "request outcome"),
      ].join(", ")
    : unread;
