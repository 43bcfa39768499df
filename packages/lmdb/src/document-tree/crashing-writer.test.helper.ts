import type { DocumentParts } from "@bolthole/core";
import { LmdbEngine } from "../lmdb-engine.js";
import { replaceDocument } from "./engine-documents.test.helper.js";

/*
 * A process that changes one document turn by turn, for as long as it lives, and writes a dot when a turn is acknowledged:
 *
 *   node crashing-writer.test.helper.js <folder> <turns that are stored already>
 */

/** The same in every process. */
function bytesOf(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0, state = seed + 1; at < length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** Every third turn brings a new document, large enough to be stored before its commit. */
function turn(number: number, length: number): DocumentParts {
  const added = bytesOf(3000, number);
  if (number % 3 === 0) return [bytesOf(1_500_000, number)];
  if (number % 3 === 1) return [{ offset: 0, length: length - 100 }, added, { offset: length - 100, length: 100 }];
  return [{ offset: 1000, length: length - 1000 }, added, { offset: 0, length: 300_000 }];
}

/** The document after so many turns. */
export function documentAfter(turns: number): Buffer {
  let document: Buffer = Buffer.of();
  for (let number = turns - 1 - ((turns + 2) % 3); number >= 0 && number < turns; number += 1) {
    const base = document;
    const parts = turn(number, base.length).map((part) =>
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
    const document = turn(number, length);
    await replaceDocument(engine, "rt", document);
    length = document.reduce((total, part) => total + part.length, 0);
    process.stdout.write(".");
  }
}

if (require.main === module) void main(process.argv.slice(2));
