export { type CheckBeforeOpen, type CheckLevel, DamagedStoreError } from "./maintenance/check-before-open";
export { type BackupManifest, BackupReader, UnusableBackupError } from "./maintenance/backup-file";
export { checkFolder } from "./maintenance/check-folder";
export { type RestoreOptions, type Restored, restoreBackup } from "./maintenance/restore";
export { LmdbEngine, type LmdbOptions } from "./lmdb-engine.js";
export type { DocumentFinding } from "./document-tree/check.js";
export { FORMAT_VERSION, UnusableFolderError } from "./format.js";
export { DiskFailureError, openFailure } from "./open-failure.js";
