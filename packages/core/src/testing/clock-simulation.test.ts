import { ClockSimulation } from "./clock-simulation.js";
import { MemoryStorage } from "./memory-storage.js";
import { Random } from "./random.js";

test("under clocks that jump, no request executes twice, final responses stay final, and a correct clock is accepted", async () => {
  const total = new Map<string, number>();
  for (let seed = 1; seed <= 12; seed += 1) {
    const storage = new MemoryStorage();
    const maxCount = seed % 2 === 0 ? 5 : 60;
    const simulation = new ClockSimulation({ random: new Random(seed), storage, maxCount, rareSteps: 40 });
    await simulation.run(1500);
    for (const [kind, count] of Object.entries(simulation.counts)) total.set(kind, (total.get(kind) ?? 0) + count);
  }
  // Each kind of response and of step must have been compared.
  for (const [kind, count] of total) expect([kind, count > 5]).toEqual([kind, true]);
});
