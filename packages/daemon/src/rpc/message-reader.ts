import { SMALL_BYTES } from "./byte-budget.js";
import { LONG_MESSAGE_BYTES, LongMessage } from "./long-message.js";
import { arenaOf, releaseBlocks } from "./message-blocks.js";
import { PREFIX_BYTES } from "./response-stream.js";

/** The memory of the objects around a message, which is counted with its bytes: a small message costs more than its bytes. */
export const MESSAGE_OVERHEAD = 512;

/** A message may arrive in this many parts whatever their size, and in more when they have LEAST_PART_BYTES on average. */
export const FREE_PARTS = 1000;
export const LEAST_PART_BYTES = 64;

/** Takes memory for a message, and gives it back. `take` returns false when there is none. */
export interface MessageMemory {
  take(bytes: number, isSmall: boolean): boolean;
  giveBack(bytes: number): void;
}

/** Why a message is refused before it has arrived. */
export type MessageProblem =
  | { readonly kind: "compressed" }
  | { readonly kind: "small parts"; readonly bytes: number }
  | { readonly kind: "too large"; readonly bytes: number }
  | { readonly kind: "no memory"; readonly bytes: number };

export class RefusedMessage extends Error {
  constructor(readonly problem: MessageProblem) {
    super(`request message: ${problem.kind}`);
  }
}

/** A message of which not all bytes have arrived. */
interface PartialMessage {
  readonly blocks: Buffer[];
  /** The bytes of the last block that are not used yet. */
  free: number;
  /** The bytes that have arrived, with the prefix. */
  arrived: number;
  /** The number of chunks that it has arrived in. */
  parts: number;
  /** The size of all blocks. */
  held: number;
  /** The bytes of the whole message with its prefix, when the prefix has arrived. */
  size: number | undefined;
}

/** Messages that have arrived. */
interface Messages {
  /** The memory that they hold. */
  bytes: number;
  readonly long: LongMessage[];
}

const newMessages = (): Messages => ({ bytes: 0, long: [] });

/**
 * Reads the length-prefixed messages of one request, and counts the memory that they hold. The prefix is checked as soon as it has
 * arrived. The bytes of an unfinished message are copied: a chunk of HTTP/2 can be one byte in a buffer of 64 KiB, which it keeps in memory.
 */
export class MessageReader {
  private partial: PartialMessage | undefined;
  /** The memory of the messages that this chunk completes, of those that were returned last, and of those before. */
  private completed = newMessages();
  private last = newMessages();
  private secondLast = newMessages();

  constructor(
    private readonly maxMessageBytes: number,
    private readonly memory: MessageMemory,
  ) {}

  /** The bytes of the message that is arriving. Undefined between messages. */
  get arrivedBytes(): number | undefined {
    return this.partial?.arrived;
  }

  /**
   * Takes the next bytes, and passes those of all messages that are complete now to `deliver`, which must copy what it keeps. Returns
   * whether a message was complete. Expects that the receiver has no more than the last two messages when it reads on. Throws a
   * RefusedMessage; call `close` then.
   */
  read(chunk: Buffer, deliver: (bytes: Buffer) => void): boolean {
    let isComplete = false;
    let at = 0;
    while (at < chunk.length) {
      if (!this.partial) {
        const end = this.endOfWholeMessages(chunk, at);
        if (end > at) {
          this.takeWhole(chunk, at, end);
          deliver(ownMemory(chunk.subarray(at, end)));
          isComplete = true;
          at = end;
          continue;
        }
        this.partial = { blocks: [], free: 0, arrived: 0, parts: 0, held: 0, size: undefined };
      }
      at = this.fill(this.partial, chunk, at);
      if (this.partial.arrived !== this.partial.size) continue;
      const whole = this.partial;
      this.partial = undefined;
      this.completed.bytes += whole.held;
      this.pass(whole, deliver);
      isComplete = true;
    }
    if (isComplete) this.next();
    return isComplete;
  }

  /** Gives the memory of the message back that has not arrived completely. Nothing may be read afterwards, except that more is dropped. */
  dropUnfinished(): void {
    const { partial } = this;
    this.partial = undefined;
    if (!partial) return;
    this.memory.giveBack(partial.held);
    releaseBlocks(partial.blocks);
  }

  /** Gives all memory back. */
  close(): void {
    this.dropUnfinished();
    for (const { bytes, long } of [this.completed, this.last, this.secondLast]) {
      this.memory.giveBack(bytes);
      for (const message of long) message.release();
    }
    this.completed = newMessages();
    this.last = newMessages();
    this.secondLast = newMessages();
  }

  /** Returns the end of the whole messages that begin at this place of a chunk. */
  private endOfWholeMessages(chunk: Buffer, start: number): number {
    let end = start;
    while (end + PREFIX_BYTES <= chunk.length) {
      const next = end + this.checkPrefix(chunk, end);
      if (next > chunk.length) break;
      end = next;
    }
    return end;
  }

  /** Checks the prefix at this place, and returns the size of the message with its prefix. */
  private checkPrefix(bytes: Buffer, at: number): number {
    if (bytes[at] !== 0) throw new RefusedMessage({ kind: "compressed" });
    const length = bytes.readUInt32BE(at + 1);
    if (length > this.maxMessageBytes) throw new RefusedMessage({ kind: "too large", bytes: length });
    return PREFIX_BYTES + length;
  }

  /** Takes the memory of whole messages in a chunk. */
  private takeWhole(chunk: Buffer, start: number, end: number): void {
    for (let at = start; at < end;) {
      const size = PREFIX_BYTES + chunk.readUInt32BE(at + 1);
      const memory = size + MESSAGE_OVERHEAD;
      if (!this.memory.take(memory, true)) throw new RefusedMessage({ kind: "no memory", bytes: size });
      this.completed.bytes += memory;
      at += size;
    }
  }

  /** Copies bytes of a chunk to the unfinished message, and returns the place after them. */
  private fill(partial: PartialMessage, chunk: Buffer, start: number): number {
    if (partial.arrived === 0 && chunk[start] !== 0) throw new RefusedMessage({ kind: "compressed" });
    partial.parts += 1;
    if (partial.parts > FREE_PARTS && partial.arrived < partial.parts * LEAST_PART_BYTES) {
      throw new RefusedMessage({ kind: "small parts", bytes: partial.arrived });
    }
    let at = start;
    while (at < chunk.length && partial.arrived !== partial.size) {
      if (partial.free === 0) this.addBlock(partial);
      const block = partial.blocks.at(-1) as Buffer;
      const missing = (partial.size ?? PREFIX_BYTES) - partial.arrived;
      const count = Math.min(missing, partial.free, chunk.length - at);
      chunk.copy(block, block.length - partial.free, at, at + count);
      at += count;
      partial.arrived += count;
      partial.free -= count;
      if (partial.size !== undefined || partial.arrived < PREFIX_BYTES) continue;
      partial.size = this.checkPrefix(block, 0);
    }
    return at;
  }

  private addBlock(partial: PartialMessage): void {
    const arena = arenaOf(partial.blocks.length);
    const isSmall = (partial.size ?? 0) <= SMALL_BYTES;
    if (!this.memory.take(arena.blockBytes, isSmall)) {
      throw new RefusedMessage({ kind: "no memory", bytes: partial.size ?? arena.blockBytes });
    }
    partial.blocks.push(arena.take());
    partial.free = arena.blockBytes;
    partial.held += arena.blockBytes;
  }

  /** Passes on a message from blocks: a long one as its token, and a short one as its bytes, which the receiver copies. */
  private pass({ blocks, size = 0, free }: PartialMessage, deliver: (bytes: Buffer) => void): void {
    if (size >= LONG_MESSAGE_BYTES) {
      const message = new LongMessage(size - PREFIX_BYTES, blocks);
      this.completed.long.push(message);
      deliver(message.framedToken());
      return;
    }
    try {
      deliverBlocks(blocks, free, deliver);
    } finally {
      releaseBlocks(blocks);
    }
  }

  private next(): void {
    this.memory.giveBack(this.secondLast.bytes);
    // The receiver has them no more: it has assembled them, or its call is over.
    for (const message of this.secondLast.long) message.release();
    this.secondLast = this.last;
    this.last = this.completed;
    this.completed = newMessages();
  }
}

/** Whole messages of up to this size are copied out of their chunk. */
const COPIED_BYTES = 16 * 1024;

/**
 * Returns short messages with memory of their own. grpc-js keeps a view of the last bytes that it has got for as long as the call is open,
 * and a chunk of HTTP/2 may be a small part of a buffer of 64 KiB.
 */
const ownMemory = (bytes: Buffer): Buffer => (bytes.length <= COPIED_BYTES ? Buffer.from(bytes) : bytes);

/** Passes on the bytes of a complete message: its last block may have space left. */
function deliverBlocks(blocks: readonly Buffer[], free: number, deliver: (bytes: Buffer) => void): void {
  blocks.forEach((block, index) => {
    const isLast = index === blocks.length - 1;
    deliver(isLast ? block.subarray(0, block.length - free) : block);
  });
}
