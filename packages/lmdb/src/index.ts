export { type CheckBeforeOpen, type CheckLevel, DamagedStore } from "./care/check-before-open.js";
export { type BackupManifest, BackupReader, UnusableBackup } from "./care/backup-file.js";
export { checkFolder } from "./care/check-folder.js";
export { type RestoreOptions, type Restored, restoreBackup } from "./care/restore.js";
export { LmdbEngine, type LmdbOptions } from "./lmdb-engine.js";
export type { DocumentFinding } from "./document-tree/check.js";
export { FORMAT_VERSION, UnusableFolder } from "./format.js";
export { FailedDisk, openFailure } from "./open-failure.js";
