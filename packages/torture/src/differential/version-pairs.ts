/** The names by which a store calls itself. They differ between stores of the same contents. */
export interface StoreNames {
  readonly epoch: string;
  readonly storeId: string;
}

/**
 * Compares the texts of two stores that did the same. Versions differ in their epoch, which each store has for itself. The
 * sequence behind it must be the same in all stores, until `loosen` is called. From then on the sequences are compared as names:
 * the same record keeps its pair of versions.
 */
export class VersionPairs {
  private readonly known = new Map<number, number>();
  private readonly taken = new Map<number, number>();
  /** Up to this sequence, both stores had the same. */
  private sameUpTo = Infinity;

  constructor(
    private readonly reference: StoreNames,
    private readonly own: StoreNames,
  ) {}

  /** Allows different sequences after this one, because a damaged store refuses changes that the others apply. */
  loosen(sequence: number): void {
    this.sameUpTo = Math.min(this.sameUpTo, sequence);
  }

  /** Returns a text of the reference's as this store would write it. A version that this store never had becomes another one. */
  toOwn(text: string): string {
    const named = text.replaceAll(this.reference.storeId, this.own.storeId);
    return named.replace(versionsIn(this.reference), (_version, digits: string) => {
      const sequence = Number(digits);
      const own = sequence <= this.sameUpTo ? sequence : this.known.get(sequence);
      return own === undefined ? "gone.2" : `${this.own.epoch}.${own}`;
    });
  }

  /** Whether two texts are equal except for the names of their stores. Notes which versions belong together. */
  agree(referenceText: string, ownText: string): boolean {
    if (anonymous(referenceText, this.reference) !== anonymous(ownText, this.own)) return false;
    const expected = sequencesIn(referenceText, this.reference);
    const found = sequencesIn(ownText, this.own);
    return (
      expected.length === found.length && expected.every((sequence, index) => this.pair(sequence, found[index] ?? -1))
    );
  }

  /** Whether two sequences belong together. Two that are new belong together from now on. */
  pair(reference: number, own: number): boolean {
    if (reference <= this.sameUpTo) return own === reference;
    if (own <= this.sameUpTo) return false;
    if (this.known.has(reference) || this.taken.has(own)) {
      return this.known.get(reference) === own && this.taken.get(own) === reference;
    }
    this.known.set(reference, own);
    this.taken.set(own, reference);
    return true;
  }

  /** Notes a pair of versions that belong together, unless one of them belongs to another one. */
  note(referenceText: string, ownText: string): void {
    const [reference] = sequencesIn(referenceText, this.reference);
    const [own] = sequencesIn(ownText, this.own);
    if (reference !== undefined && own !== undefined) this.pair(reference, own);
  }
}

/** Returns a text without the names of the store. */
const anonymous = (text: string, names: StoreNames): string =>
  text.replaceAll(names.storeId, "(store)").replace(versionsIn(names), "(version)");

const versionsIn = ({ epoch }: StoreNames): RegExp => new RegExp(`\\b${epoch}\\.(\\d+)\\b`, "g");

const sequencesIn = (text: string, names: StoreNames): number[] =>
  [...text.matchAll(versionsIn(names))].map(([, digits]) => Number(digits));
