/** A stretch this long is compared at a time; longer ones are not faster. */
const LONGEST_STEP = 64 * 1024;
const FIRST_STEP = 64;

const isSame = (a: Buffer, aAt: number, b: Buffer, bAt: number, length: number): boolean =>
  a.compare(b, bAt, bAt + length, aAt, aAt + length) === 0;

/** How many bytes are the same from `aAt` and `bAt` on; at most `limit`, which both must have. */
export function runForward(a: Buffer, aAt: number, b: Buffer, bAt: number, limit: number): number {
  return longestRun(limit, (from, length) => isSame(a, aAt + from, b, bAt + from, length));
}

/** How many bytes are the same before `aEnd` and `bEnd`; at most `limit`, which both must have. */
export function runBackward(a: Buffer, aEnd: number, b: Buffer, bEnd: number, limit: number): number {
  return longestRun(limit, (from, length) => isSame(a, aEnd - from - length, b, bEnd - from - length, length));
}

/** In steps that double, so that short runs are cheap and long ones cost one comparison of memory; then halves the last step. */
function longestRun(limit: number, isSameIn: (from: number, length: number) => boolean): number {
  let run = 0;
  let step = FIRST_STEP;
  while (run < limit) {
    const length = Math.min(step, limit - run);
    if (!isSameIn(run, length)) return run + firstDifference(length, (from, part) => isSameIn(run + from, part));
    run += length;
    step = Math.min(step * 2, LONGEST_STEP);
  }
  return run;
}

/** Of a stretch that is known to differ. */
function firstDifference(length: number, isSameIn: (from: number, length: number) => boolean): number {
  let same = 0;
  let different = length;
  while (different - same > 1) {
    const middle = (same + different) >>> 1;
    if (isSameIn(same, middle - same)) same = middle;
    else different = middle;
  }
  return same;
}
