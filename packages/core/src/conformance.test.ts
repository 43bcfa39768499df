import { runConformance } from "@bolthole/conformance";
import { memoryStores } from "./testing/memory-stores.js";

runConformance("the memory engine", memoryStores());
