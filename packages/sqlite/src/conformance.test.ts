import { runConformance } from "@bolthole/conformance";
import { sqliteStores } from "./testing/sqlite-stores.js";

runConformance("the SQLite engine", sqliteStores());
