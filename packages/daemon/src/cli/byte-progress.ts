import { SingleBar } from "cli-progress";

const MEBIBYTE = 1024 * 1024;

export const mebibytes = (bytes: number): string => `${(bytes / MEBIBYTE).toFixed(1)} MiB`;

/** How many bytes have passed, on a terminal only. */
export class ByteProgress {
  private bytes = 0;
  private readonly bar = new SingleBar({
    format: "{bytes}",
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
  });

  constructor() {
    this.bar.start(1, 0, { bytes: mebibytes(0) });
  }

  add(bytes: number): void {
    this.bytes += bytes;
    this.bar.update(0, { bytes: mebibytes(this.bytes) });
  }

  stop(): void {
    this.bar.stop();
  }
}
