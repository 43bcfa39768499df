/**
 * Thrown when a file of an open store is not at its path any more: it, or a folder above it, was removed, moved or replaced. What is
 * written now could not be found there by the next start.
 */
export class LostFilesError extends Error {
  override readonly name = "LostFilesError";
}

/** Throws a LostFilesError unless every file of the store is still at its path. Called twice for each group of commits. */
export type FileGuard = () => void;

/** Whether every file of the store is still at its path. */
export function areFilesInPlace(guard: FileGuard | undefined): boolean {
  try {
    guard?.();
    return true;
  } catch (error) {
    if (error instanceof LostFilesError) return false;
    throw error;
  }
}
