export { SqliteEngine, type SqliteOptions } from "./sqlite-engine.js";
export { UnusableFile } from "./schema.js";
export { type RawRow, putRawRow } from "./raw-row.js";
