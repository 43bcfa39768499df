import { closeSync, openSync, readSync, writeSync } from "node:fs";

/*
 * A ledger is a file outside the daemon's folder. A client appends a line before each operation that it sends, and a line
 * for each response. So the ledger contains exactly what must be stored after a fault.
 */

/**
 * The name of a record within its runtime: `snapshot`, `lifecycle`, `ops`, `input ID`, `receipt RUN SEQUENCE`. The
 * OAuth value, which belongs to no runtime, is `oauth`.
 */
export type RecordKey = string;

/** The effect of an operation on a record: the digest of the new content, or null for a removal. */
export type Effect = readonly [key: RecordKey, digest: string | null];

/** The text in place of the runtime id in operations that belong to no runtime. */
export const STORE = "(store)";

/** The prefix of runtime ids that are not in the ledger, because another part of the harness checks them. */
export const UNLEDGERED = "(unledgered)";

/** An operation that is about to be sent. A runtime has one operation at a time; the store may have several. */
export interface SentLine {
  readonly t: "sent";
  /** The request id. */
  readonly id: string;
  readonly runtime: string;
  readonly method: string;
  readonly effects: readonly Effect[];
  /** The number of the value that an OAuth update would write. */
  readonly link?: number | undefined;
}

/** A response: the operation was applied, by this attempt or (`replayed`) by an earlier one. */
export interface AckLine {
  readonly t: "ack";
  readonly id: string;
  readonly version: string;
  readonly replayed: boolean;
}

/** The operation was not applied: its compare-and-set missed, it was refused, or it was never sent. */
interface NotAppliedLine {
  readonly t: "not-applied";
  readonly id: string;
  readonly why: string;
}

/** The attempt got no response, so the outcome is unknown. */
interface LostLine {
  readonly t: "lost";
  readonly id: string;
}

/** The client asks to seal the request id. After this line it may be sealed, with or without a response. */
interface SealingLine {
  readonly t: "sealing";
  readonly id: string;
}

/** The response of `GetCommit`. */
export interface StatusLine {
  readonly t: "status";
  readonly id: string;
  readonly state: "applied" | "pending" | "not_found" | "sealed" | "expired";
  readonly version?: string | undefined;
}

/** A repeat was refused, because the request id is sealed. */
interface SealedLine {
  readonly t: "sealed";
  readonly id: string;
}

/** A repeat of an operation that had been acknowledged, or was found applied. */
export interface RepeatLine {
  readonly t: "repeat";
  readonly id: string;
  readonly version: string;
  readonly replayed: boolean;
}

/** A record that a client read; null when there was none. */
export interface ReadLine {
  readonly t: "read";
  readonly runtime: string;
  readonly key: RecordKey;
  readonly digest: string | null;
  readonly version: string | null;
  /** Whether the runtime had no operation in progress, so that the content is known exactly. */
  readonly settled: boolean;
}

/** A response that no fault explains. */
interface WrongLine {
  readonly t: "wrong";
  readonly runtime: string;
  readonly what: string;
}

/** No further operation will use the runtime. */
interface RetiredLine {
  readonly t: "retired";
  readonly runtime: string;
}

export type Line =
  | SentLine
  | AckLine
  | NotAppliedLine
  | LostLine
  | SealingLine
  | StatusLine
  | SealedLine
  | RepeatLine
  | ReadLine
  | WrongLine
  | RetiredLine;

/** Appends lines. Each line is in the operating system's cache before `append` returns, so it survives a kill. */
export class LedgerWriter {
  private readonly fd: number;

  constructor(file: string) {
    this.fd = openSync(file, "a");
  }

  append(line: Line): void {
    writeSync(this.fd, `${JSON.stringify(line)}\n`);
  }
}

const BLOCK_BYTES = 1 << 20;

/** Reads a ledger that is still written. */
export class LedgerTail {
  private readonly fd: number;
  private offset = 0;
  private rest = Buffer.alloc(0);
  private readonly block = Buffer.allocUnsafe(BLOCK_BYTES);

  constructor(file: string) {
    closeSync(openSync(file, "a"));
    this.fd = openSync(file, "r");
  }

  /** Returns the complete lines that were appended since the last call. */
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
