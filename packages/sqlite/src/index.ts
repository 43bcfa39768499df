export { SqliteEngine, type SqliteOptions } from "./sqlite-engine.js";
export { UnusableFileError } from "./connection.js";
export {
  type ListedRuntime,
  MeerkatFile,
  type MeerkatRows,
  type MeerkatRuntime,
  type RawRow,
  putRawRow,
} from "./meerkat-file.js";
export { type Converted, type RefusedRow, ToMeerkat } from "./meerkat-rows.js";
