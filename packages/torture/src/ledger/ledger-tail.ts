import { closeSync, openSync, readSync } from "node:fs";
import type { Line } from "./lines.js";

const BLOCK_BYTES = 1 << 20;

/** Reads what was appended to a ledger since the last look. */
export class LedgerTail {
  private readonly fd: number;
  private offset = 0;
  private rest = Buffer.alloc(0);
  private readonly block = Buffer.allocUnsafe(BLOCK_BYTES);

  constructor(file: string) {
    closeSync(openSync(file, "a"));
    this.fd = openSync(file, "r");
  }

  read(): Line[] {
    const lines: Line[] = [];
    for (;;) {
      const length = readSync(this.fd, this.block, 0, BLOCK_BYTES, this.offset);
      if (length === 0) return lines;
      this.offset += length;
      const bytes = Buffer.concat([this.rest, this.block.subarray(0, length)]);
      const end = bytes.lastIndexOf(0x0a) + 1;
      this.rest = bytes.subarray(end);
      for (const text of bytes.toString("utf8", 0, end).split("\n")) {
        if (text !== "") lines.push(JSON.parse(text) as Line);
      }
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}
