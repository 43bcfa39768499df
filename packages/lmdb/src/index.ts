export { LmdbEngine, type LmdbOptions } from "./lmdb-engine.js";
export type { DocumentFinding } from "./document-tree/check.js";
export { FORMAT_VERSION, UnusableFolder } from "./format.js";
