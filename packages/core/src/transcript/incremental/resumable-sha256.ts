import { type IHasher, createSHA256 } from "hash-wasm";

export interface ResumedSha256 {
  /** The state before the closing text. */
  readonly state: Uint8Array;
  /** The digest in hex, with the closing text included. */
  readonly digest: string;
}

let hasher: Promise<IHasher> | undefined;

/**
 * A SHA-256 computation whose state can be saved and continued later. It is several times slower than Node's, which cannot
 * save its state. No other file imports hash-wasm.
 */
export class ResumableSha256 {
  private constructor(private readonly sha256: IHasher) {}

  static async load(): Promise<ResumableSha256> {
    return new ResumableSha256(await (hasher ??= createSHA256()));
  }

  /** Adds `parts` to a saved state, or to a new computation if it is undefined, and then `closing` for the digest alone. */
  resume(state: Uint8Array | undefined, parts: Iterable<Uint8Array | string>, closing: string): ResumedSha256 {
    if (state) this.sha256.load(state);
    else this.sha256.init();
    for (const part of parts) this.sha256.update(part);
    const after = this.sha256.save();
    return { state: after, digest: this.sha256.update(closing).digest("hex") };
  }
}
