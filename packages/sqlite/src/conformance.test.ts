import { runConformance } from "@bolthole/conformance";
import { sqliteStores } from "./sqlite-stores.test.helper.js";

runConformance("the SQLite engine", sqliteStores());
