import { readFailed } from "@bolthole/contract";
import type { BackupCopy, Engine } from "../engine.js";

/** The most copies that are kept for their readers: each takes the disk space of a store. */
const MOST_COPIES = 2;
/** A reader that takes nothing for this time loses its copy when another one needs the space, in milliseconds. */
const STALL_MS = 5_000;

/**
 * The copies of a store that are being read as backups. While nothing is committed, all readers share one copy. A copy is kept until its
 * last reader has ended, so a slow reader costs disk space, and delays nothing but other backups.
 */
export class BackupCopies {
  private readonly copies: SharedCopy[] = [];

  constructor(
    private readonly engine: Pick<Engine, "stats">,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Returns a backup of the present state if there is a copy of it. */
  async shared(): Promise<AsyncIterable<Uint8Array> | undefined> {
    if (this.copies.length === 0) return undefined;
    const { commitSequence } = await this.engine.stats();
    return this.copies.find((copy) => copy.commitSequence === commitSequence)?.read();
  }

  /** Makes a copy, and returns a backup of it. Rejects with BUSY when all places are taken by readers that take what they get. */
  async made(make: () => Promise<BackupCopy>): Promise<AsyncIterable<Uint8Array>> {
    this.refuseWithoutPlace();
    const copy = new SharedCopy(await make(), this.now, () => {
      const place = this.copies.indexOf(copy);
      if (place >= 0) this.copies.splice(place, 1);
    });
    // After the new copy was made: a backup that fails must not end that of another reader.
    if (this.copies.length >= MOST_COPIES) this.slowest()?.cutOff();
    this.copies.push(copy);
    return copy.read();
  }

  private refuseWithoutPlace(): void {
    if (this.copies.length < MOST_COPIES || (this.slowest()?.idleMs ?? 0) >= STALL_MS) return;
    throw readFailed("BUSY", `${String(MOST_COPIES)} other backups are being received; try again when one has ended`);
  }

  private slowest(): SharedCopy | undefined {
    return [...this.copies].sort((one, other) => other.idleMs - one.idleMs)[0];
  }
}

/** A copy with its readers. It is closed when the last one ends. */
class SharedCopy {
  private readonly readers = new Set<CopyReader>();
  private isCutOff = false;

  constructor(
    private readonly copy: BackupCopy,
    private readonly now: () => number,
    private readonly onClosed: () => void,
  ) {}

  get commitSequence(): number {
    return this.copy.commitSequence;
  }

  /** For how long no reader has taken anything, in milliseconds. */
  get idleMs(): number {
    return Math.min(...[...this.readers].map((reader) => reader.idleMs));
  }

  read(): AsyncIterable<Uint8Array> {
    const reader: CopyReader = new CopyReader(this.copy[Symbol.asyncIterator](), this.now, () => this.leave(reader));
    this.readers.add(reader);
    return reader;
  }

  /** Closes the copy. Its readers fail when they ask for more. */
  cutOff(): void {
    this.isCutOff = true;
    this.onClosed();
    for (const reader of this.readers) reader.cutOff();
    void this.copy.close();
  }

  private async leave(reader: CopyReader): Promise<void> {
    this.readers.delete(reader);
    if (this.readers.size > 0 || this.isCutOff) return;
    this.onClosed();
    await this.copy.close();
  }
}

/** One reader of a copy. */
class CopyReader implements AsyncIterableIterator<Uint8Array> {
  /** The end of the last read. Undefined during a read. */
  private restsSince: number | undefined;
  private isCutOff = false;

  constructor(
    private readonly bytes: AsyncIterator<Uint8Array>,
    private readonly now: () => number,
    private readonly leave: () => Promise<void>,
  ) {
    this.restsSince = now();
  }

  get idleMs(): number {
    return this.restsSince === undefined ? 0 : this.now() - this.restsSince;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    this.refuseCutOff();
    this.restsSince = undefined;
    let result: IteratorResult<Uint8Array> | undefined;
    try {
      result = await this.bytes.next();
      return result;
    } finally {
      this.restsSince = this.now();
      if (!result || result.done === true) await this.leave();
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.bytes.return?.();
    await this.leave();
    return { done: true, value: undefined };
  }

  cutOff(): void {
    this.isCutOff = true;
  }

  private refuseCutOff(): void {
    if (!this.isCutOff) return;
    throw readFailed(
      "CANCELLED",
      "the backup was received too slowly, and another one needed its disk space; try again",
    );
  }
}
