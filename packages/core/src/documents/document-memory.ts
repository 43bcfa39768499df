import { MessageChannel } from "node:worker_threads";

/** Smaller documents use the heap, and are left to the garbage collector. */
const LEAST_BYTES = 1 << 20;
/**
 * The smallest size of a block. The system always maps allocations of more than 32 MiB separately, so a block leaves no gaps
 * between other allocations. Pages that no document has reached use no memory.
 */
const BLOCK_BYTES = 33 << 20;
/** Two documents of 10 MB: while one is checked and stored, the next one is received. */
export const DEFAULT_DOCUMENT_MEMORY = 24 << 20;
/** The longest wait for space: the sender of an earlier document may have stopped. */
const LONGEST_WAIT_MS = 2000;
/** The time without a document after which free memory is returned to the system. */
const IDLE_MS = 10_000;

/** Memory for one whole document. A worker thread may have it for a time, and returns it. */
export class DocumentBlock {
  /** The bytes of the memory that any document has used so far. */
  reached = 0;
  private readonly capacity: number;

  constructor(
    /** The length of the document. */
    public length: number,
    public memory: ArrayBuffer,
  ) {
    this.capacity = memory.byteLength;
  }

  get bytes(): Buffer<ArrayBuffer> {
    return Buffer.from(this.memory, 0, this.length);
  }

  /** Whether a worker that had the memory ended before it returned it. */
  get isLost(): boolean {
    return this.memory.byteLength < this.capacity;
  }

  canHold(length: number): boolean {
    return length <= this.capacity && !this.isLost;
  }
}

interface Waiter {
  readonly length: number;
  readonly resolve: (block: DocumentBlock) => void;
  readonly timer: NodeJS.Timeout;
}

export interface DocumentMemoryOptions {
  readonly boundBytes?: number | undefined;
  readonly longestWaitMs?: number | undefined;
}

/**
 * Memory for whole documents that are being stored. All documents together stay within a bound: further senders wait, each for
 * a limited time. One document alone may be larger. Blocks are reused, because the garbage collector runs late for large
 * buffers, which are few objects, and because the system's allocator keeps the gaps that they leave.
 */
export class DocumentMemory {
  /** The total length of the documents that have a block. */
  private usedBytes = 0;
  /** Free blocks, the most recently used one last. */
  private free: DocumentBlock[] = [];
  private readonly waiting: Waiter[] = [];
  private readonly boundBytes: number;
  private readonly longestWaitMs: number;
  private idleTimer: NodeJS.Timeout | undefined;

  constructor({ boundBytes = DEFAULT_DOCUMENT_MEMORY, longestWaitMs = LONGEST_WAIT_MS }: DocumentMemoryOptions = {}) {
    this.boundBytes = boundBytes;
    this.longestWaitMs = longestWaitMs;
  }

  /** About how many bytes of the system's memory are in use. */
  get size(): number {
    return this.usedBytes + this.freeBytes;
  }

  /** Waits for space, in the order of the calls. */
  async take(length: number): Promise<DocumentBlock> {
    if (length < LEAST_BYTES || (this.waiting.length === 0 && this.hasSpace(length))) return this.takeNow(length);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.admit(waiter);
      }, this.longestWaitMs).unref();
      const waiter = { length, resolve, timer };
      this.waiting.push(waiter);
    });
  }

  /** Returns a block immediately, also beyond the bound. Only for a caller that other callers wait for. */
  takeNow(length: number): DocumentBlock {
    if (length < LEAST_BYTES) return new DocumentBlock(length, Buffer.allocUnsafeSlow(length).buffer);
    this.usedBytes += length;
    const block = this.reusedBlock(length) ?? this.newBlock(length);
    block.length = length;
    block.reached = Math.max(block.reached, length);
    return block;
  }

  /** Frees a block. Its bytes must not be read any more. */
  giveBack(block: DocumentBlock): void {
    if (block.length >= LEAST_BYTES && !block.isLost) this.free.push(block);
    this.forget(block);
  }

  /** Leaves a block to the garbage collector, because its bytes may still be read. */
  forget({ length }: DocumentBlock): void {
    if (length < LEAST_BYTES) return;
    this.usedBytes -= length;
    this.shrinkTo(this.boundBytes - this.usedBytes);
    while (this.waiting[0] && this.hasSpace(this.waiting[0].length)) this.admit(this.waiting[0]);
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => {
      this.shrinkTo(0);
    }, IDLE_MS).unref();
  }

  private get freeBytes(): number {
    return this.free.reduce((total, { reached }) => total + reached, 0);
  }

  private hasSpace(length: number): boolean {
    return this.usedBytes === 0 || this.usedBytes + length <= this.boundBytes;
  }

  private admit(waiter: Waiter): void {
    clearTimeout(waiter.timer);
    this.waiting.splice(this.waiting.indexOf(waiter), 1);
    waiter.resolve(this.takeNow(waiter.length));
  }

  private reusedBlock(length: number): DocumentBlock | undefined {
    const index = this.free.findLastIndex((block) => block.canHold(length));
    return index < 0 ? undefined : this.free.splice(index, 1)[0];
  }

  private newBlock(length: number): DocumentBlock {
    this.shrinkTo(this.boundBytes - this.usedBytes);
    return new DocumentBlock(length, Buffer.allocUnsafeSlow(Math.max(length, BLOCK_BYTES)).buffer);
  }

  /** Keeps at most `bytes` of free memory, and returns the rest to the system, the least recently used block first. */
  private shrinkTo(bytes: number): void {
    while (this.freeBytes > Math.max(0, bytes)) {
      const oldest = this.free.shift();
      if (oldest) releaseMemory(oldest.memory);
    }
  }
}

/** Returns the memory of a buffer to the system immediately. The buffer is empty afterwards. */
export function releaseMemory(memory: ArrayBuffer): void {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  // Memory that is transferred to a closed port is freed.
  port1.postMessage(undefined, [memory]);
  port1.close();
}
