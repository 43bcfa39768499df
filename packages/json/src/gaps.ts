/** Messages that were left out of a text, because an earlier reading of the same bytes knows them. */
export interface Gap {
  /** How many messages; at least one. */
  readonly count: number;
  /** Containers around them where they were read: nowhere deeper are they known to be good. */
  readonly depth: number;
  /** They stand in the written form of free JSON. */
  readonly isCanonicalRawJson: boolean;
}

/** Stands for what was left out. No JSON text has this byte: wherever a gap is not expected, the reading fails. */
export const GAP_BYTE = 0;

/** The gaps of a text, by their places. */
export class Gaps {
  constructor(
    private readonly places: ReadonlyMap<number, Gap>,
    private readonly start = 0,
  ) {}

  at(position: number): Gap | undefined {
    return this.places.get(this.start + position);
  }

  /** Those of a part of the text, which begins at `start`. */
  from(start: number): Gaps {
    return new Gaps(this.places, this.start + start);
  }
}
