import { type IHasher, createSHA256 } from "hash-wasm";

let hasher: Promise<IHasher> | undefined;

/**
 * SHA-256 whose state after some bytes can be kept, and gone on from later: the one file that knows hash-wasm. Several times
 * slower than the native one, which keeps no state.
 */
export class ResumableSha256 {
  private constructor(private readonly sha256: IHasher) {}

  static async load(): Promise<ResumableSha256> {
    return new ResumableSha256(await (hasher ??= createSHA256()));
  }

  /** The state after these bytes, from a state or from the beginning; and the digest if `end` came after them. */
  goOn(state: Uint8Array | undefined, parts: Iterable<Uint8Array | string>, end: string): ResumedSha256 {
    if (state) this.sha256.load(state);
    else this.sha256.init();
    for (const part of parts) this.sha256.update(part);
    const after = this.sha256.save();
    return { state: after, digest: this.sha256.update(end).digest("hex") };
  }
}

export interface ResumedSha256 {
  readonly state: Uint8Array;
  /** In hex. */
  readonly digest: string;
}
