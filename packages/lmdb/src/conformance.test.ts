import { runConformance } from "@bolthole/conformance";
import { lmdbStores } from "./lmdb-stores.test.helper.js";

runConformance("the LMDB engine", lmdbStores());
