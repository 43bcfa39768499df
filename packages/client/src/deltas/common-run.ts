/** A stretch this long is compared at a time; longer ones are not faster. */
const LONGEST_STEP = 64 * 1024;
const FIRST_STEP = 64;

/**
 * Two places, from which bytes are compared onwards, or backwards from the bytes before them. No function is made for a
 * comparison: there are many, and the compiler would begin with each anew.
 */
interface Places {
  readonly a: Buffer;
  readonly aAt: number;
  readonly b: Buffer;
  readonly bAt: number;
  readonly isBackward: boolean;
}

/** How many bytes are the same from `aAt` and `bAt` on; at most `limit`, which both must have. */
export const runForward = (a: Buffer, aAt: number, b: Buffer, bAt: number, limit: number): number =>
  longestRun({ a, aAt, b, bAt, isBackward: false }, limit);

/** How many bytes are the same before `aEnd` and `bEnd`; at most `limit`, which both must have. */
export const runBackward = (a: Buffer, aEnd: number, b: Buffer, bEnd: number, limit: number): number =>
  longestRun({ a, aAt: aEnd, b, bAt: bEnd, isBackward: true }, limit);

/** In steps that double, so that short runs are cheap and long ones cost one comparison of memory; then halves the last step. */
function longestRun(places: Places, limit: number): number {
  let run = 0;
  let step = FIRST_STEP;
  while (run < limit) {
    const length = Math.min(step, limit - run);
    if (!isSame(places, run, length)) return firstDifference(places, run, length);
    run += length;
    step = Math.min(step * 2, LONGEST_STEP);
  }
  return run;
}

/** In a stretch that is known to differ. */
function firstDifference(places: Places, from: number, length: number): number {
  let same = from;
  let different = from + length;
  while (different - same > 1) {
    const middle = (same + different) >>> 1;
    if (isSame(places, same, middle - same)) same = middle;
    else different = middle;
  }
  return same;
}

function isSame({ a, aAt, b, bAt, isBackward }: Places, from: number, length: number): boolean {
  const shift = isBackward ? -from - length : from;
  return a.compare(b, bAt + shift, bAt + shift + length, aAt + shift, aAt + shift + length) === 0;
}
