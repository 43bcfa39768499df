import { MemoryEngine } from "./memory-engine.js";
import { testClosing } from "./testing/closing.js";

testClosing("the memory engine", () =>
  Promise.resolve({ engine: new MemoryEngine(), remove: () => Promise.resolve() }),
);
