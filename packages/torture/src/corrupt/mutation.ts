import type { Random } from "../random.js";

const PAGE = 4096;
/** The first two say which state is the newest: an old one of them is a whole older store, which nobody can tell. */
const FIRST_PAGES = 2;

/** What is done to a data file. `older` is what it was some commits before. */
export interface Mutation {
  readonly name: string;
  apply(file: Buffer, older: Buffer, random: Random): Buffer;
}

const pageAt = (file: Buffer, page: number): Buffer => file.subarray(page * PAGE, (page + 1) * PAGE);

/** The pages that were ever used; behind them the file has zeros. */
function pagesOf(file: Buffer): number {
  const lastPage = (at: number): number => Number(file.readBigUInt64LE(at + 144));
  return Math.max(lastPage(0), lastPage(PAGE)) + 1;
}

const anyPage = (file: Buffer, random: Random, from = 0): number => from + random.below(pagesOf(file) - from);

/** Often more than one. */
function few(random: Random, act: () => void): void {
  const times = 1 + random.below(4);
  for (let time = 0; time < times; time += 1) act();
}

type Apply = Mutation["apply"];

const flipWithin =
  (bytesOfPage: number): Apply =>
  (file, _older, random) => {
    few(random, () => {
      const at = anyPage(file, random) * PAGE + random.below(bytesOfPage);
      file[at] = (file[at] ?? 0) ^ (1 << random.below(8));
    });
    return file;
  };

const zero: Apply = (file, _older, random) => {
  few(random, () => pageAt(file, anyPage(file, random)).fill(0));
  return file;
};

const swap: Apply = (file, _older, random) => {
  few(random, () => {
    const [one, other] = [pageAt(file, anyPage(file, random)), pageAt(file, anyPage(file, random))];
    const copy = Buffer.from(one);
    other.copy(one);
    copy.copy(other);
  });
  return file;
};

/** So many bytes of a page are as they were. */
const goBack =
  (bytesOfPage: (random: Random) => number): Apply =>
  (file, older, random) => {
    few(random, () => {
      const page = FIRST_PAGES + random.below(Math.min(pagesOf(file), pagesOf(older)) - FIRST_PAGES);
      pageAt(older, page).copy(file, page * PAGE, 0, bytesOfPage(random));
    });
    return file;
  };

const cutShort: Apply = (file, _older, random) => file.subarray(0, random.below(pagesOf(file) * PAGE));

const foreign: Apply = (file, _older, random) => {
  const bytes = Buffer.alloc(file.length, "photos of somebody else, ");
  // Sometimes with a beginning that is right.
  if (random.below(2) === 0) file.copy(bytes, 0, 0, PAGE * (1 + random.below(4)));
  return bytes;
};

export const MUTATIONS: readonly Mutation[] = [
  { name: "flipped bits", apply: flipWithin(PAGE) },
  { name: "flipped bits in page headers", apply: flipWithin(64) },
  { name: "zeroed pages", apply: zero },
  { name: "swapped pages", apply: swap },
  { name: "stale pages", apply: goBack(() => PAGE) },
  { name: "torn pages", apply: goBack((random) => 512 * (1 + random.below(7))) },
  { name: "cut short", apply: cutShort },
  { name: "foreign file", apply: foreign },
];
