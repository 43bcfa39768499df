import { openSync, writeSync } from "node:fs";
import type { Line } from "./lines.js";

/** Appends lines, each in the hands of the operating system before the next thing happens. */
export class LedgerWriter {
  private readonly fd: number;

  constructor(file: string) {
    this.fd = openSync(file, "a");
  }

  append(line: Line): void {
    writeSync(this.fd, `${JSON.stringify(line)}\n`);
  }
}
