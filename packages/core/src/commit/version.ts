import type { Version } from "@bolthole/contract";

/** `<epoch>.<sequence>`: opaque to everyone else. */
export const versionText = (epoch: string, sequence: number): Version => `${epoch}.${String(sequence)}`;

/** The commit that a version names, or nothing when it is none of this store. */
export function sequenceOf(epoch: string, version: Version): number | undefined {
  if (!version.startsWith(`${epoch}.`)) return undefined;
  const sequence = Number(version.slice(epoch.length + 1));
  return versionText(epoch, sequence) === version ? sequence : undefined;
}
