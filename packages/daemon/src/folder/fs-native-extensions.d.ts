declare module "fs-native-extensions" {
  /** False when another process holds the lock. */
  export function tryLock(descriptor: number): boolean;
}
