import { randomBytes, timingSafeEqual } from "node:crypto";
import { readFailed } from "@bolthole/contract";
import { type Pause, allocatePages } from "@bolthole/contract/wire";
import { BLOCKS_A_STEP, arenaOf, releaseBlocks } from "./message-blocks.js";
import { PREFIX_BYTES } from "./response-stream.js";

/** A message of this size or above is not passed through grpc-js. */
export const LONG_MESSAGE_BYTES = 64 * 1024;

/** The beginning of every token. It is random and secret, so no client can send a token, and it is never decoded: an error could show it. */
const SECRET = randomBytes(16);
const TOKEN_BYTES = SECRET.length + 8;
let created = 0n;

/** The messages that were not assembled yet, by their tokens. */
const waiting = new Map<string, LongMessage>();

const keyOf = (token: Buffer): string => token.toString("latin1");

/**
 * The bytes of a long request message, which stay in blocks. grpc-js would copy them in one step, which takes two milliseconds for each MiB.
 * It gets a short token in their place, and the handler, which gets the token from grpc-js, puts the bytes together in steps.
 */
export class LongMessage {
  private readonly token: Buffer;

  constructor(
    /** The size of the message without its prefix. */
    readonly bytes: number,
    /** The first block begins with the prefix. The last one may have space left. */
    private readonly blocks: readonly Buffer[],
  ) {
    this.token = Buffer.concat([SECRET, Buffer.alloc(8)]);
    this.token.writeBigUInt64BE((created += 1n), SECRET.length);
    waiting.set(keyOf(this.token), this);
  }

  /** Returns the message that a token stands for, also one that was released. Returns undefined for bytes that are no token. */
  static find(bytes: Buffer): LongMessage | undefined {
    const isToken = bytes.length === TOKEN_BYTES && timingSafeEqual(bytes.subarray(0, SECRET.length), SECRET);
    return isToken ? (waiting.get(keyOf(bytes)) ?? RELEASED) : undefined;
  }

  /** Whether it was neither assembled nor released. */
  get isWaiting(): boolean {
    return waiting.has(keyOf(this.token));
  }

  /** Returns the message that grpc-js gets. */
  framedToken(): Buffer {
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(TOKEN_BYTES, 1);
    return Buffer.concat([prefix, this.token]);
  }

  /** Returns the bytes, and gives the blocks back. It can be called once. Throws CANCELLED after `release`. */
  async assemble(pause: Pause): Promise<Buffer> {
    if (!waiting.delete(keyOf(this.token))) {
      throw readFailed("CANCELLED", "the call ended before its request was read");
    }
    const { blocks } = this;
    const whole = allocatePages(this.bytes);
    let at = 0;
    let released = 0;
    try {
      for (const [index, block] of blocks.entries()) {
        at += block.copy(whole, at, index === 0 ? PREFIX_BYTES : 0);
        if ((index + 1) % BLOCKS_A_STEP > 0) continue;
        for (; released <= index; released += 1) arenaOf(released).giveBack(blocks[released] as Buffer);
        const wait = pause();
        if (wait) await wait;
      }
    } finally {
      releaseBlocks(blocks, released);
    }
    return whole;
  }

  /** Gives the blocks back, unless the message was assembled. */
  release(): void {
    if (waiting.delete(keyOf(this.token))) releaseBlocks(this.blocks);
  }
}

/** What a token stands for when its message was released. */
const RELEASED = new LongMessage(0, []);
RELEASED.release();
