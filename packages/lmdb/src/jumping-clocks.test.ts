import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClockSimulation, Random } from "@bolthole/core/testing";
import { LmdbStorage } from "./testing/lmdb-storage.js";

test.each([1, 2])(
  "a store in LMDB keeps the promises about request ids under clocks that jump (seed %d)",
  async (seed) => {
    const folder = mkdtempSync(join(tmpdir(), "bolthole-clocks-"));
    const storage = new LmdbStorage(folder);
    try {
      const simulation = new ClockSimulation({ random: new Random(seed), storage, maxCount: 20, rareSteps: 60 });
      await simulation.run(700);
      const { restores, executed, replayed, expired } = simulation.counts;
      expect([restores > 0, executed > 100, replayed > 10, expired > 10]).toEqual([true, true, true, true]);
    } finally {
      await storage.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
