import { runConformance } from "@bolthole/conformance";
import { lmdbStores } from "./testing/lmdb-stores.js";

runConformance("the LMDB engine", lmdbStores());
