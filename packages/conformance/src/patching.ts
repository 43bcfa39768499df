import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import type { DocumentPart, SnapshotPatch, Version } from "@bolthole/contract";

/** A sound patch of these pieces, and the document that it makes. */
export function patchOf(
  baseVersion: Version,
  base: Uint8Array,
  pieces: readonly DocumentPart[],
): { readonly patch: SnapshotPatch; readonly document: Buffer } {
  const document = Buffer.concat(
    pieces.map((part) => (part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length))),
  );
  return { patch: { baseVersion, resultLength: document.length, resultCrc32: crc32(document), pieces }, document };
}

/** What both have at their beginnings and ends is copied, the rest is new. */
export function patchTo(baseVersion: Version, base: Buffer, document: Buffer): SnapshotPatch {
  const shorter = Math.min(base.length, document.length);
  let prefix = 0;
  while (prefix < shorter && base[prefix] === document[prefix]) prefix += 1;
  let suffix = 0;
  while (suffix < shorter - prefix && base.at(-1 - suffix) === document.at(-1 - suffix)) suffix += 1;
  return patchOf(baseVersion, base, [
    { offset: 0, length: prefix },
    document.subarray(prefix, document.length - suffix),
    { offset: base.length - suffix, length: suffix },
  ]).patch;
}
