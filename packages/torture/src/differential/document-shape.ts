import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { DocumentPart, SnapshotPatch } from "@bolthole/contract";
import type { Random } from "../random.js";

/** A stored document from which a patch is made. */
export interface BaseDocument {
  readonly version: string;
  readonly bytes: Buffer;
}

const FAULTS = ["crc32", "base", "range", "length", "digest"] as const;

/** A change of a document, which may leave it a valid one or not. Both kinds of checks must accept it, or refuse it for the same reason. */
interface Edit {
  readonly kind: "replace" | "remove" | "repeat";
  /** The place, as a part of the length. */
  readonly place: number;
  readonly length: number;
}

/** How a document is sent: whole, as a patch of the stored one, or as an upload. A fault makes the request wrong. */
export interface DocumentShape {
  readonly kind: "whole" | "patch" | "upload";
  readonly base?: BaseDocument | undefined;
  readonly chunkBytes: number;
  readonly fault?: (typeof FAULTS)[number] | undefined;
  /** The shortest range that a patch copies. */
  readonly least: number;
  readonly edit?: Edit | undefined;
}

/** Chooses how a document is sent: mostly as a client does, rarely with a fault. */
export function chooseShape(random: Random, base: BaseDocument | undefined): DocumentShape {
  const kind = random.weighted({ whole: base ? 2 : 6, patch: base ? 12 : 0, upload: 1 });
  const fault = random.oneIn(25) ? random.pick(FAULTS) : undefined;
  const edit = random.oneIn(12) ? chooseEdit(random) : undefined;
  return { kind, base, fault, edit, chunkBytes: 1 + random.below(1 << 16), least: 16 << random.below(6) };
}

const chooseEdit = (random: Random): Edit => ({
  kind: random.pick(["replace", "replace", "remove", "repeat"]),
  place: random.below(1 << 20) / (1 << 20),
  length: 1 + random.below(random.pick([4, 40, 400])),
});

/** Returns a document with the change that a shape makes. */
export function edited({ edit }: DocumentShape, document: Buffer): Buffer {
  if (!edit) return document;
  const at = Math.floor(edit.place * document.length);
  const [before, range, after] = [
    document.subarray(0, at),
    document.subarray(at, at + edit.length),
    document.subarray(at + edit.length),
  ];
  switch (edit.kind) {
    case "replace":
      // Digits and letters stay digits and letters, so that most documents stay JSON.
      return Buffer.concat([before, Buffer.from(range.toString("latin1").replace(/[0-8a-y]/, next), "latin1"), after]);
    case "remove":
      return Buffer.concat([before, after]);
    case "repeat":
      return Buffer.concat([before, range, range, after]);
  }
}

const next = (letter: string): string => String.fromCharCode(letter.charCodeAt(0) + 1);

/** Returns a document as a patch of the stored one. */
export function patchOf({ base, least, fault }: DocumentShape, document: Buffer): SnapshotPatch {
  const { version, bytes } = base ?? { version: "", bytes: Buffer.of() };
  const pieces = partsOf(bytes, document, least);
  const beyond: DocumentPart = { offset: bytes.length, length: 1 };
  return {
    baseVersion: fault === "base" ? "gone.3" : version,
    resultLength: document.length + (fault === "length" ? 1 : 0),
    resultCrc32: fault === "crc32" ? crc32(document) ^ 1 : crc32(document),
    pieces: fault === "range" ? [...pieces, beyond] : pieces,
  };
}

/** Returns an upload of a document, without the runtime that it is for. */
export const uploadOf = (
  { chunkBytes, fault }: DocumentShape,
  document: Buffer,
): { length: number; sha256: Buffer; chunks: AsyncIterable<Uint8Array> } => ({
  length: document.length + (fault === "length" ? 1 : 0),
  sha256: createHash("sha256")
    .update(fault === "digest" ? "another" : document)
    .digest(),
  chunks: { [Symbol.asyncIterator]: () => chunksOf(document, chunkBytes) },
});

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the bytes are in memory
async function* chunksOf(document: Buffer, chunkBytes: number): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < document.length; at += chunkBytes) yield document.subarray(at, at + chunkBytes);
}

/** The bytes of a block by which a range of the base is found again. */
const BLOCK = 32;

/** Returns a document as ranges of the base, of `least` bytes or more, and new bytes. */
function partsOf(base: Buffer, next: Buffer, least: number): DocumentPart[] {
  const places = new Map<string, number>();
  for (let at = 0; at + BLOCK <= base.length; at += BLOCK) places.set(base.toString("latin1", at, at + BLOCK), at);
  const parts: DocumentPart[] = [];
  let copied = 0;
  for (let at = 0; at < next.length;) {
    const place = places.get(next.toString("latin1", at, at + BLOCK));
    const length = place === undefined ? 0 : commonLength(base, place, next, at);
    if (place === undefined || length < least) {
      at += 1;
      continue;
    }
    if (at > copied) parts.push(next.subarray(copied, at));
    parts.push({ offset: place, length });
    at += length;
    copied = at;
  }
  if (copied < next.length) parts.push(next.subarray(copied));
  return parts;
}

function commonLength(base: Buffer, place: number, next: Buffer, at: number): number {
  let length = 0;
  while (place + length < base.length && at + length < next.length && base[place + length] === next[at + length]) {
    length += 1;
  }
  return length;
}
