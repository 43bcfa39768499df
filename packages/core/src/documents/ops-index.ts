import type { RuntimeId } from "@bolthole/contract";
import { LRUCache } from "lru-cache";
import type { DocumentParts } from "../engine.js";

/**
 * What the check of the JSON of an operation snapshot leaves for the next check: the begin and the end of its long string
 * literals, quotes included, in ascending order. Most of a large snapshot is in them: they are the results.
 */
export type OpsIndex = Float64Array;

/** A long string that the new JSON has from its base. */
interface KeptString {
  /** The position in the shortened text. */
  readonly shortAt: number;
  /** The position in the new JSON. */
  readonly at: number;
  readonly length: number;
}

/**
 * The new JSON of a patch, with an empty string literal for each long one that a range of the base contains completely.
 *
 * If the shortened text is accepted, the whole JSON is valid. A reader of the shortened text reaches the first quote of an empty
 * literal in one of two places. Before a value, it reads an empty string; a reader of the whole JSON reads the long literal, whose
 * bytes were checked in the base, and which may stand for any string: no name and no id is so long. Inside a string, behind a
 * backslash, the second quote ends the string, and in the whole JSON the last quote of the long literal. In any other place, the
 * first or the second quote is an error. The reverse is not true, so a refused text does not say that the JSON is invalid.
 */
export interface ShortenedOps {
  readonly parts: DocumentParts;
  readonly length: number;
  readonly kept: readonly KeptString[];
}

const EMPTY_STRING = Buffer.from('""');

export function shortenOps(document: DocumentParts, base: OpsIndex): ShortenedOps {
  const parts: DocumentParts[number][] = [];
  const kept: KeptString[] = [];
  let at = 0;
  let shortAt = 0;
  const add = (part: DocumentParts[number]): void => {
    if (part.length === 0) return;
    parts.push(part);
    shortAt += part.length;
  };
  for (const part of document) {
    if (part instanceof Uint8Array) {
      add(part);
    } else {
      const end = part.offset + part.length;
      let from = part.offset;
      for (let index = firstFrom(base, from); index < base.length; index += 2) {
        const [start = 0, stop = 0] = base.subarray(index, index + 2);
        if (stop > end) break;
        add({ offset: from, length: start - from });
        kept.push({ shortAt, at: at + start - part.offset, length: stop - start });
        add(EMPTY_STRING);
        from = stop;
      }
      add({ offset: from, length: end - from });
    }
    at += part.length;
  }
  return { parts, length: shortAt, kept };
}

/** Returns the place of the first string that begins at a position or after it. */
function firstFrom(index: OpsIndex, position: number): number {
  let [low, high] = [0, index.length / 2];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((index[2 * middle] ?? 0) < position) low = middle + 1;
    else high = middle;
  }
  return 2 * low;
}

/** Returns the index of the new JSON from the long strings of its shortened text. */
export function indexOfWhole({ kept }: ShortenedOps, found: OpsIndex): OpsIndex {
  const strings: number[] = [];
  let next = 0;
  /** How much longer the JSON is than the shortened text, up to the present position. */
  let longer = 0;
  const addFoundBefore = (shortAt: number): void => {
    for (; next < found.length && (found[next] ?? 0) < shortAt; next += 2) {
      const [start = 0, stop = 0] = found.subarray(next, next + 2);
      // A string that contains an empty literal behind a backslash is left out.
      if (stop <= shortAt) strings.push(start + longer, stop + longer);
    }
  };
  for (const { shortAt, at, length } of kept) {
    addFoundBefore(shortAt);
    strings.push(at, at + length);
    longer += length - EMPTY_STRING.length;
  }
  addFoundBefore(Infinity);
  return Float64Array.from(strings);
}

/** The memory for the indexes: those of some hundred large snapshots. */
const INDEX_BYTES = 4 << 20;

/** Keeps the indexes of stored operation snapshots. The least recently used one is dropped first. */
export class OpsIndexCache {
  private readonly entries = new LRUCache<RuntimeId, { readonly sequence: number; readonly index: OpsIndex }>({
    maxSize: INDEX_BYTES,
    sizeCalculation: ({ index }) => 64 + index.byteLength,
  });

  /** Returns undefined if no index of this runtime is kept, or only that of another snapshot. */
  get(runtimeId: RuntimeId, sequence: number): OpsIndex | undefined {
    const entry = this.entries.get(runtimeId);
    return entry?.sequence === sequence ? entry.index : undefined;
  }

  put(runtimeId: RuntimeId, sequence: number, index: OpsIndex): void {
    this.entries.set(runtimeId, { sequence, index });
  }
}
