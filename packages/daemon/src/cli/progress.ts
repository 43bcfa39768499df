import { SingleBar } from "cli-progress";
import { mebibytes } from "./quantity.js";

const newBar = (format: string): SingleBar =>
  new SingleBar({ format, clearOnComplete: true, hideCursor: true, stream: process.stderr });

/** Shows how many bytes were processed. Shows nothing when standard error is not a terminal. */
export class ByteProgress {
  private bytes = 0;
  private readonly bar = newBar("{bytes}");

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

/** Shows how many runtimes were processed. Shows nothing when standard error is not a terminal. */
export class RuntimeProgress {
  private readonly bar = newBar("{bar} {value} of {total} runtimes");

  constructor(total: number) {
    this.bar.start(total, 0);
  }

  increment(): void {
    this.bar.increment();
  }

  stop(): void {
    this.bar.stop();
  }
}
