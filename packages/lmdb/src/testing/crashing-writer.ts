import type { DocumentParts } from "@bolthole/core";
import { LmdbEngine } from "../lmdb-engine.js";
import { replaceDocument } from "./engine-documents.js";

/*
 * A program that changes one document again and again until it is killed, and writes a dot for each acknowledged change:
 *
 *   node crashing-writer.js <folder> <number of changes that are stored already>
 */

/** Returns bytes that are the same in every process. */
function bytesOf(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0, state = seed + 1; at < length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** Returns the change with this number. Every third one is a new document, which is stored before its commit. */
function changeOf(number: number, length: number): DocumentParts {
  const added = bytesOf(3000, number);
  if (number % 3 === 0) return [bytesOf(1_500_000, number)];
  if (number % 3 === 1) return [{ offset: 0, length: length - 100 }, added, { offset: length - 100, length: 100 }];
  return [{ offset: 1000, length: length - 1000 }, added, { offset: 0, length: 300_000 }];
}

/** Returns the document after this many changes. */
export function documentAfter(changes: number): Buffer {
  let document: Buffer = Buffer.of();
  for (let number = changes - 1 - ((changes + 2) % 3); number >= 0 && number < changes; number += 1) {
    const base = document;
    const parts = changeOf(number, base.length).map((part) =>
      part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length),
    );
    document = Buffer.concat(parts);
  }
  return document;
}

async function main([folder = "", done = "0"]: readonly string[]): Promise<void> {
  const engine = await LmdbEngine.open(folder);
  let { length } = documentAfter(Number(done));
  for (let number = Number(done); ; number += 1) {
    const document = changeOf(number, length);
    await replaceDocument(engine, "rt", document);
    length = document.reduce((total, part) => total + part.length, 0);
    process.stdout.write(".");
  }
}

if (require.main === module) void main(process.argv.slice(2));
