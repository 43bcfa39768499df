import { setImmediate as nextTurn } from "node:timers/promises";
import type { ServerWritableStream } from "@grpc/grpc-js";
import { readFailed } from "@bolthole/contract";
import type { Allocate } from "@bolthole/contract/wire";

/** Messages on their way to one reader before it is waited for: while one is taken, the next is made. */
const MESSAGES_AHEAD = 2;
const READER_STALL_MS = 30_000;

/**
 * The messages of one answer on their way to its reader, who may be slow, stand still, or go away. They are encoded already,
 * so that nothing but sending them is left when it is their turn.
 */
export class Outgoing {
  private untaken = 0;
  private proceed: (() => void) | undefined;
  /** Of messages that were taken: fresh memory costs several times what it costs to copy a message into it. */
  private readonly spare: Buffer[] = [];

  constructor(private readonly call: ServerWritableStream<unknown, object>) {
    call.once("cancelled", () => this.proceed?.());
  }

  /** Resolves when the next message is wanted; false when the reader is gone. Fails when it takes nothing for too long. */
  async send(encode: (allocate: Allocate) => Buffer): Promise<boolean> {
    if (this.isGone()) return false;
    let memory: Buffer | undefined;
    const message = encode((bytes) => {
      memory = this.memory(bytes);
      return memory.subarray(0, bytes);
    });
    this.untaken += 1;
    this.call.write(message, () => {
      if (memory) this.spare.push(memory);
      this.untaken -= 1;
      this.proceed?.();
    });
    // The message goes out between two turns of the event loop; then there is time for the next one.
    await nextTurn();
    while (this.untaken >= MESSAGES_AHEAD && !this.isGone()) await this.progress();
    return !this.isGone();
  }

  private isGone(): boolean {
    return this.call.cancelled;
  }

  /** Only that of the first messages is too short, and of no use any more. */
  private memory(bytes: number): Buffer {
    const spare = this.spare.pop();
    return spare && spare.length >= bytes ? spare : Buffer.allocUnsafeSlow(bytes);
  }

  private async progress(): Promise<void> {
    let stalled: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.proceed = resolve;
        stalled = setTimeout(() => {
          reject(readFailed("CANCELLED", `the reader took nothing for ${String(READER_STALL_MS / 1000)} s`));
        }, READER_STALL_MS);
      });
    } finally {
      clearTimeout(stalled);
      this.proceed = undefined;
    }
  }
}
