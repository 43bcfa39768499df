export { LmdbEngine, type LmdbOptions } from "./lmdb-engine.js";
export { DiskFailureError, openFailure } from "./disk-errors.js";
export { FORMAT_VERSION, UnusableFolderError, refuseOtherContents, unfinishedRestoreText } from "./format.js";
export { type CheckLevel, DamagedStoreError, type OpenCheckOptions, checkFolder } from "./maintenance/check.js";
export { type OfflineCompactionListener, compactStore } from "./maintenance/compaction.js";
export { type BackupManifest, BackupReader, UnusableBackupError } from "./maintenance/backup.js";
export {
  type RestoreOptions,
  type RestoreResult,
  UnreadableBackupError,
  restoreBackup,
} from "./maintenance/restore.js";
export { PROCESS_NAME, isRunning, ownProcessName } from "./process-name.js";
