import { type RuntimeId, writeFailed } from "@bolthole/contract";

/**
 * The bytes of documents that have arrived and that no commit has used yet, in all uploads and imports together. Bytes that a client only
 * declares do not count: other clients are not refused because of them.
 */
export class ArrivedBytes {
  private bytes = 0;

  constructor(private readonly max: number) {}

  /** Counts bytes that have arrived. Throws BUSY, and counts nothing, when there would be too many. */
  take(runtimeId: RuntimeId, bytes: number): void {
    this.refuseBeyond(runtimeId, bytes);
    this.bytes += bytes;
  }

  /** Throws BUSY when so many bytes more would be too many at present. */
  refuseBeyond(runtimeId: RuntimeId, bytes: number): void {
    const wanted = this.bytes + bytes;
    if (wanted <= this.max) return;
    throw writeFailed(
      "BUSY",
      `all uploads and imports together would have ${String(wanted)} bytes; try again a little later`,
      {
        runtimeId,
        expected: `at most ${String(this.max)} bytes`,
        actual: `${String(wanted)} bytes`,
      },
    );
  }

  giveBack(bytes: number): void {
    this.bytes -= bytes;
  }
}
