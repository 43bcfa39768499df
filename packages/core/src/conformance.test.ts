import { runConformance } from "@bolthole/conformance";
import { memoryStores } from "./memory-stores.test.helper.js";

runConformance("the memory engine", memoryStores());
