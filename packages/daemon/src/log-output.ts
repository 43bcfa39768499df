import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const STDERR = 2;

/** The most bytes of lines that wait because they cannot be written. The oldest ones are dropped for further lines. */
const MAX_WAITING_BYTES = 1 << 20;
/** The time between two attempts to write to a reader that takes nothing at present. */
const RETRY_MS = 50;
/** The longest time that the end of a process waits for a reader that takes nothing. */
const LAST_LINES_MS = 2000;

/** Writes some bytes at once, and returns how many. Throws EAGAIN instead of waiting for a reader. */
export type WriteNow = (bytes: Uint8Array) => number;

/**
 * The lines of the log on their way to the standard error. A line is written at once, so that it survives a crash that follows. While
 * the reader takes nothing, or the disk is full, lines wait in memory; the process goes on. The newest lines are kept, because they tell why a process
 * ends, and the number of dropped lines is logged in their place.
 *
 * pino's own destination is not used: it drops the newest lines, and in its synchronous mode it sleeps, with the whole process, until
 * the reader goes on. In its asynchronous mode, and in a worker thread, the write that waits belongs to a thread, for which the end of the
 * process would wait, too.
 */
export class LogOutput {
  private readonly lines: Buffer[] = [];
  private waitingBytes = 0;
  /** The bytes of the first line that are written already. */
  private written = 0;
  private retry: NodeJS.Timeout | undefined;
  private unreported = 0;
  private isOver = false;
  /** The number of bytes that were written since the start. */
  private takenBytes = 0;
  /** The number of lines that were dropped since the start. */
  dropped = 0;

  /** `note` returns the line about lines that were dropped. */
  constructor(
    private readonly writeNow: WriteNow,
    private readonly note: (dropped: number) => string,
    private readonly maxBytes = MAX_WAITING_BYTES,
  ) {}

  write(line: string): void {
    if (this.isOver) return;
    const bytes = Buffer.from(line, "utf8");
    this.lines.push(bytes);
    this.waitingBytes += bytes.length;
    this.dropOldest();
    // A reader that takes nothing is asked again by the timer alone.
    if (this.retry === undefined) this.flush();
  }

  /** Waits until all lines are written, while they are read. Gives up when nothing is taken for a while. */
  async drained(): Promise<void> {
    let endsAt = performance.now() + LAST_LINES_MS;
    // The timer writes, too.
    let seen = this.takenBytes;
    while (this.lines.length > 0 && performance.now() < endsAt) {
      this.flush();
      if (this.takenBytes > seen) endsAt = performance.now() + LAST_LINES_MS;
      seen = this.takenBytes;
      if (this.lines.length > 0) await sleep(RETRY_MS);
    }
  }

  private take(bytes: Uint8Array): number {
    const taken = this.writeNow(bytes);
    this.takenBytes += taken;
    return taken;
  }

  private dropOldest(): void {
    // The rest of a line that is written in part must follow.
    const first = this.written > 0 ? 1 : 0;
    while (this.waitingBytes > this.maxBytes && this.lines.length > first + 1) {
      const [line] = this.lines.splice(first, 1);
      this.waitingBytes -= line?.length ?? 0;
      this.dropped += 1;
      this.unreported += 1;
    }
  }

  private flush(): void {
    clearTimeout(this.retry);
    this.retry = undefined;
    try {
      for (let line = this.first(); line; line = this.first()) {
        this.written += this.take(line.subarray(this.written));
        if (this.written < line.length) continue;
        this.lines.shift();
        this.waitingBytes -= line.length;
        this.written = 0;
      }
    } catch (error) {
      this.failed(error as NodeJS.ErrnoException);
    }
  }

  /** Returns the line to write. Writes the note about dropped lines before the line that followed them. */
  private first(): Buffer | undefined {
    if (this.unreported > 0 && this.written === 0) {
      const note = Buffer.from(this.note(this.unreported), "utf8");
      // The note is a line like others only when a part of it is written: before, it would be the first to be dropped.
      const written = this.take(note);
      this.unreported = 0;
      if (written < note.length) {
        this.lines.unshift(note);
        this.waitingBytes += note.length;
        this.written = written;
      }
    }
    return this.lines[0];
  }

  private failed({ code }: NodeJS.ErrnoException): void {
    if (code === "EPIPE") {
      // The reader has gone for ever.
      this.isOver = true;
      this.lines.length = 0;
      this.waitingBytes = 0;
      this.written = 0;
      return;
    }
    // Any other failure, such as a full disk, may end.
    this.retry = setTimeout(() => {
      this.flush();
    }, RETRY_MS).unref();
  }
}

/** How this process writes to its standard error, from the first line on. */
let opened: WriteNow | undefined;

/**
 * Writes to the standard error, and does not wait for its reader:
 *
 * - A pipe or a terminal is opened a second time, without blocking. The mode belongs to the open file that other processes share, such as
 *   the shell that started this one, so the mode of theirs is not changed.
 * - A socket, such as that of journald or of a parent in Node, cannot be opened again. Node makes it non-blocking when it makes
 *   `process.stderr`, and makes it blocking again when the process ends.
 * - A file has no reader that could stall. Its write waits for the disk alone.
 */
export const writeToStandardError: WriteNow = (bytes) => (opened ??= openStandardError())(bytes);

function openStandardError(): WriteNow {
  const again = openAgain();
  // Node sets the mode of a socket when this stream is made.
  if (again === undefined) process.stderr.on("error", () => undefined);
  const descriptor = again ?? STDERR;
  return (bytes) => writeSync(descriptor, bytes);
}

function openAgain(): number | undefined {
  try {
    const found = fstatSync(STDERR);
    if (!found.isFIFO() && !found.isCharacterDevice()) return undefined;
    return openSync(`/proc/self/fd/${String(STDERR)}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // Without /proc, or without a reader, or on the terminal of another user. Node makes a pipe non-blocking, too.
    return undefined;
  }
}
