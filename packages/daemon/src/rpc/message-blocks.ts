import { BlockArena } from "./block-arena.js";

/** The blocks of messages that arrive: the first one of a message is small. */
const firstBlocks = new BlockArena(1024);
const moreBlocks = new BlockArena(16 * 1024);

/** Returns the arena of the next block of a message that has so many. */
export const arenaOf = (index: number): BlockArena => (index === 0 ? firstBlocks : moreBlocks);

/** The blocks that are copied or given back in one step. The system takes about a millisecond for so many. */
export const BLOCKS_A_STEP = 64;

/** Gives the blocks of a message back, those of a long one in steps, between which the event loop runs. */
export function releaseBlocks(blocks: readonly Buffer[], from = 0): void {
  const end = Math.min(blocks.length, from + BLOCKS_A_STEP);
  for (let index = from; index < end; index += 1) arenaOf(index).giveBack(blocks[index] as Buffer);
  if (end === blocks.length) return;
  setImmediate(() => {
    releaseBlocks(blocks, end);
  });
}
