const LONG_BYTES = 128 * 1024;

/**
 * Returns memory that goes back to the system when it is collected, if it is long. The C library keeps the memory of ordinary buffers of
 * some MiB for later ones, so that a process stays as large as it ever was.
 */
export const allocatePages = (bytes: number): Buffer =>
  bytes < LONG_BYTES ? Buffer.allocUnsafeSlow(bytes) : Buffer.from(new ArrayBuffer(bytes, { maxByteLength: bytes }));
