import type { Gap } from "@bolthole/json";
import type { RememberedMessages } from "./remembered-session.js";

/** Remembered messages, from `from` on, in the place of their bytes. */
export class LeftOut implements Gap {
  readonly depth: number;
  readonly isCanonicalRawJson: boolean;

  constructor(
    readonly known: RememberedMessages,
    readonly from: number,
    readonly count: number,
  ) {
    this.depth = known.depth;
    this.isCanonicalRawJson = known.isNormalised;
  }
}
