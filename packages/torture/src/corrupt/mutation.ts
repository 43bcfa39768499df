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

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "flipped bits",
    apply: (file, _older, random) => {
      few(random, () => {
        const at = anyPage(file, random) * PAGE + random.below(PAGE);
        file[at] = (file[at] ?? 0) ^ (1 << random.below(8));
      });
      return file;
    },
  },
  {
    name: "flipped bits in page headers",
    apply: (file, _older, random) => {
      few(random, () => {
        const at = anyPage(file, random) * PAGE + random.below(64);
        file[at] = (file[at] ?? 0) ^ (1 << random.below(8));
      });
      return file;
    },
  },
  {
    name: "zeroed pages",
    apply: (file, _older, random) => {
      few(random, () => pageAt(file, anyPage(file, random)).fill(0));
      return file;
    },
  },
  {
    name: "swapped pages",
    apply: (file, _older, random) => {
      few(random, () => {
        const [one, other] = [pageAt(file, anyPage(file, random)), pageAt(file, anyPage(file, random))];
        const copy = Buffer.from(one);
        other.copy(one);
        copy.copy(other);
      });
      return file;
    },
  },
  {
    name: "stale pages",
    apply: (file, older, random) => {
      few(random, () => {
        const page = FIRST_PAGES + random.below(Math.min(pagesOf(file), pagesOf(older)) - FIRST_PAGES);
        pageAt(older, page).copy(file, page * PAGE);
      });
      return file;
    },
  },
  {
    name: "torn pages",
    apply: (file, older, random) => {
      few(random, () => {
        const page = FIRST_PAGES + random.below(Math.min(pagesOf(file), pagesOf(older)) - FIRST_PAGES);
        pageAt(older, page).copy(file, page * PAGE, 0, 512 * (1 + random.below(7)));
      });
      return file;
    },
  },
  {
    name: "cut short",
    apply: (file, _older, random) => file.subarray(0, random.below(pagesOf(file) * PAGE)),
  },
  {
    name: "foreign file",
    apply: (file, _older, random) => {
      const bytes = Buffer.alloc(file.length, "photos of somebody else, ");
      // Sometimes with a beginning that is right.
      if (random.below(2) === 0) file.copy(bytes, 0, 0, PAGE * (1 + random.below(4)));
      return bytes;
    },
  },
];
