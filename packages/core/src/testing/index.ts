// For the benchmarks and tests of this repository. It is not part of the published package.
export { IterationCounter } from "./iteration-counter.js";
export { type OpenedEngine, testClosing } from "./closing.js";
export { Random } from "./random.js";
export { inputId, inputState } from "./input-states.js";
export { typicalSession } from "./typical-session.js";
export { ClockSimulation, type SimulatedStorage } from "./clock-simulation.js";
export { fuzzClocks } from "./fuzz-clocks.js";
export { MemoryStorage } from "./memory-storage.js";
export { requestIdAt } from "./request-ids.js";
export { SimulatedClock } from "./simulated-clock.js";
