import { releaseMemory } from "./release-memory.js";

/** What is smaller is taken from the heap, and left to the garbage collector. */
const LEAST_BYTES = 1 << 20;
/**
 * Of a block, at least. What has more than 32 MiB is mapped by itself, whatever the allocator learnt from what was freed before,
 * and leaves no gaps between other things; pages that no document reached take no memory.
 */
const BLOCK_BYTES = 33 << 20;
/** Two documents of 10 MB: while one is checked and stored, the next one comes in. */
export const DEFAULT_DOCUMENT_MEMORY = 24 << 20;
/** Nobody waits longer than this for room: a sender before them may stand still. */
const LONGEST_WAIT_MS = 2000;
/** After this long without a document, the memory goes back to the system. */
const IDLE_MS = 10_000;

/** Memory that holds one whole document. A worker thread may have it for a while, and hands it back. */
export class DocumentBlock {
  /** Bytes that some document reached. */
  reached = 0;
  private readonly capacity: number;

  constructor(
    /** Of the document. */
    public length: number,
    public memory: ArrayBuffer,
  ) {
    this.capacity = memory.byteLength;
  }

  get bytes(): Buffer<ArrayBuffer> {
    return Buffer.from(this.memory, 0, this.length);
  }

  /** A worker that had it ended before it handed it back. */
  get isLost(): boolean {
    return this.memory.byteLength < this.capacity;
  }

  holds(length: number): boolean {
    return length <= this.capacity && !this.isLost;
  }
}

interface Waiter {
  readonly length: number;
  readonly resolve: (block: DocumentBlock) => void;
  readonly late: NodeJS.Timeout;
}

export interface DocumentMemoryOptions {
  readonly boundBytes?: number | undefined;
  readonly longestWaitMs?: number | undefined;
}

/**
 * Memory for whole documents on their way into the store. All of them together stay within a bound, so that many senders at
 * once wait and hold nothing here, each for a while at most; one document alone may be larger. Blocks are used again: the
 * garbage collector comes late for large buffers, which are few objects, and the system's allocator keeps the gaps that they
 * leave.
 */
export class DocumentMemory {
  /** Bytes of documents whose blocks somebody has. */
  private lent = 0;
  /** The one that was given back last comes last. */
  private free: DocumentBlock[] = [];
  private readonly waiting: Waiter[] = [];
  private readonly boundBytes: number;
  private readonly longestWaitMs: number;
  private idle: NodeJS.Timeout | undefined;

  constructor({ boundBytes = DEFAULT_DOCUMENT_MEMORY, longestWaitMs = LONGEST_WAIT_MS }: DocumentMemoryOptions = {}) {
    this.boundBytes = boundBytes;
    this.longestWaitMs = longestWaitMs;
  }

  /** Bytes that are taken from the system, about. */
  get size(): number {
    return this.lent + this.freeBytes;
  }

  /** Waits for room, in the order of arrival. */
  async take(length: number): Promise<DocumentBlock> {
    if (length < LEAST_BYTES || (this.waiting.length === 0 && this.hasRoom(length))) return this.takeNow(length);
    return new Promise((resolve) => {
      const late = setTimeout(() => {
        this.admit(waiter);
      }, this.longestWaitMs).unref();
      const waiter = { length, resolve, late };
      this.waiting.push(waiter);
    });
  }

  /** For those who hold others up when they wait. */
  takeNow(length: number): DocumentBlock {
    if (length < LEAST_BYTES) return new DocumentBlock(length, Buffer.allocUnsafeSlow(length).buffer);
    this.lent += length;
    const block = this.reused(length) ?? this.fresh(length);
    block.length = length;
    block.reached = Math.max(block.reached, length);
    return block;
  }

  /** Nobody may look at its bytes any more. */
  giveBack(block: DocumentBlock): void {
    if (block.length >= LEAST_BYTES && !block.isLost) this.free.push(block);
    this.forget(block);
  }

  /** Leaves it to the garbage collector: somebody may still look at its bytes. */
  forget({ length }: DocumentBlock): void {
    if (length < LEAST_BYTES) return;
    this.lent -= length;
    this.shrinkTo(this.boundBytes - this.lent);
    while (this.waiting[0] && this.hasRoom(this.waiting[0].length)) this.admit(this.waiting[0]);
    clearTimeout(this.idle);
    this.idle = setTimeout(() => {
      this.shrinkTo(0);
    }, IDLE_MS).unref();
  }

  private get freeBytes(): number {
    return this.free.reduce((total, { reached }) => total + reached, 0);
  }

  private hasRoom(length: number): boolean {
    return this.lent === 0 || this.lent + length <= this.boundBytes;
  }

  private admit(waiter: Waiter): void {
    clearTimeout(waiter.late);
    this.waiting.splice(this.waiting.indexOf(waiter), 1);
    waiter.resolve(this.takeNow(waiter.length));
  }

  private reused(length: number): DocumentBlock | undefined {
    const index = this.free.findLastIndex((block) => block.holds(length));
    return index < 0 ? undefined : this.free.splice(index, 1)[0];
  }

  private fresh(length: number): DocumentBlock {
    this.shrinkTo(this.boundBytes - this.lent);
    return new DocumentBlock(length, Buffer.allocUnsafeSlow(Math.max(length, BLOCK_BYTES)).buffer);
  }

  /** Gives back to the system what is free beyond so many bytes, what was used last at the end. */
  private shrinkTo(bytes: number): void {
    while (this.freeBytes > Math.max(0, bytes)) {
      const oldest = this.free.shift();
      if (oldest) releaseMemory(oldest.memory);
    }
  }
}
