export { SqliteEngine, type SqliteOptions } from "./sqlite-engine.js";
export { UnusableFileError } from "./connection.js";
export { type ListedRuntime, MeerkatFile, type RawRow, putRawRow } from "./meerkat-file.js";
export { type MeerkatRows, type RefusedRow, type Taken, fromMeerkat, toMeerkat } from "./meerkat-rows.js";
