import { Random } from "@bolthole/core/testing";
import { BlockArena } from "./block-arena.js";

test("blocks do not overlap, keep their bytes, and return their memory", () => {
  const random = new Random(3);
  const arena = new BlockArena(16 * 1024);
  const blocks = new Map<Buffer, number>();
  for (let step = 0; step < 5000; step += 1) {
    const grows = step < 2500 ? random.below(3) > 0 : random.below(3) === 0;
    const [first] = blocks.keys();
    if (grows || !first) {
      const block = arena.take();
      blocks.set(block, step % 251);
      block.fill(step % 251);
    } else {
      const block = [...blocks.keys()][random.below(Math.min(50, blocks.size))] ?? first;
      expect(block.every((byte) => byte === blocks.get(block))).toBe(true);
      blocks.delete(block);
      arena.giveBack(block);
    }
    expect(arena.bytes).toBeGreaterThanOrEqual(blocks.size * 16 * 1024);
  }
  for (const [block, byte] of blocks) {
    expect([block[0], block.at(-1)]).toEqual([byte, byte]);
    arena.giveBack(block);
  }
  expect(arena.bytes).toBeLessThanOrEqual(1024 * 1024);
});

test("a block of another arena is refused", () => {
  expect(() => {
    new BlockArena(1024).giveBack(new BlockArena(1024).take());
  }).toThrow("not one of this arena");
});
