import { StoreError } from "@bolthole/contract";
import { UnusableBackupError, UnusableFolderError } from "@bolthole/lmdb";
import { EXIT, StartupError } from "../exit-code.js";

/** What can be said to a person is told with its exit code, without a stack. */
export async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UnusableBackupError)
      throw new StartupError(EXIT.DAMAGED, `the backup cannot be used: ${error.message}`, error);
    if (error instanceof UnusableFolderError) throw new StartupError(EXIT.DATA_FOLDER, error.message, error);
    if (error instanceof StoreError && error.reason === "UNSUPPORTED") {
      throw new StartupError(EXIT.USAGE, error.message, error);
    }
    if (error instanceof StoreError && error.reason !== "INTERNAL") {
      throw new StartupError(EXIT.INTERNAL, error.message, error);
    }
    throw error;
  }
}
