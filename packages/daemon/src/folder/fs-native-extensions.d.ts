declare module "fs-native-extensions" {
  /**
   * Takes a lock on an open file, or on `length` bytes of it from `offset` on where the system can lock a part. Returns false when
   * another open file has a lock that excludes it.
   */
  export function tryLock(
    descriptor: number,
    offset?: number,
    length?: number,
    options?: { readonly shared?: boolean },
  ): boolean;
}
