import { StoreError } from "@bolthole/contract";
import { UnusableBackup, UnusableFolder } from "@bolthole/lmdb";
import { EXIT, StartFailure } from "../exit-code.js";

/** What can be said to a person is told with its exit code, without a stack. */
export async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UnusableBackup)
      throw new StartFailure(EXIT.DAMAGED, `the backup cannot be used: ${error.message}`, error);
    if (error instanceof UnusableFolder) throw new StartFailure(EXIT.DATA_FOLDER, error.message, error);
    if (error instanceof StoreError && error.reason === "UNSUPPORTED") {
      throw new StartFailure(EXIT.USAGE, error.message, error);
    }
    if (error instanceof StoreError && error.reason !== "INTERNAL") {
      throw new StartFailure(EXIT.INTERNAL, error.message, error);
    }
    throw error;
  }
}
