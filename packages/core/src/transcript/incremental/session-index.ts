import type { SessionId, SystemTime, TranscriptRewriteCommit } from "@bolthole/contract";
import type { Gap } from "@bolthole/json";

/**
 * Thrown when an incremental check needs a fact that the session index does not contain. The document then gets a full
 * check.
 */
export class CacheMissError extends Error {
  override readonly name = "CacheMissError";

  constructor() {
    super("the session index does not contain a fact that the check needs");
  }
}

/**
 * The facts that are kept of one message list of a stored document. They suffice to recognise its messages in the next
 * document, and to run the guards without their bytes. Plain data, so that a worker thread can send it.
 */
export interface ListIndex {
  /** Identifies the list among those of its session. A list has a higher number than the lists that are older. */
  readonly number: number;
  /** The number of messages. */
  readonly length: number;
  /** The byte range of each message, counted from the beginning of the first message. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  /** How many JSON containers enclose the messages. In a deeper place they may exceed the nesting limit. */
  readonly depth: number;
  /** Whether the messages are part of a raw JSON value that is in canonical JSON, as bodies in the metadata are. */
  readonly isCanonicalRawJson: boolean;
  /** The digests that checks computed; a key is `from to`. */
  readonly digests: ReadonlyMap<string, string>;
  /** The state of a SHA-256 computation over all messages, before the end of the list. */
  readonly sha256State: Uint8Array | undefined;
  /** The text of the system message at the beginning. */
  readonly systemText: string | undefined;
  /** The indexes of the notices that a runtime may remove again (contract 10.3 d). */
  readonly transientNotices: readonly number[];
  /** An older list of the same session that begins with the same `count` messages. */
  readonly shared: { readonly with: ListIndex; readonly count: number } | undefined;
}

/** A list, and the offset of its first message in the document. */
export interface PlacedList {
  readonly list: ListIndex;
  readonly at: number;
}

export interface BodyIndex {
  readonly revision: string;
  readonly parentRevision: string | undefined;
  readonly createdAt: SystemTime;
  readonly messages: PlacedList;
}

export interface HistoryIndex {
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly bodies: readonly BodyIndex[];
}

/** The facts that are kept of a stored session document, for the check of the next one. */
export interface SessionIndex {
  readonly id: SessionId;
  readonly transcript: PlacedList;
  readonly history: HistoryIndex | undefined;
  /** The ranges of different lists that a full check found equal, as `equalRangeKey` writes them. */
  readonly equalRanges: ReadonlySet<string>;
  /** The number of the next new list. */
  readonly nextNumber: number;
}

/** Messages of a stored list, from index `from` on, that a check leaves out of the text that it parses. */
export class ElidedMessages implements Gap {
  readonly depth: number;
  readonly isCanonicalRawJson: boolean;

  constructor(
    readonly list: ListIndex,
    readonly from: number,
    readonly count: number,
  ) {
    this.depth = list.depth;
    this.isCanonicalRawJson = list.isCanonicalRawJson;
  }
}

/** Returns all lists that have messages, in the order of their places in the document. */
export function placedLists({ transcript, history }: SessionIndex): PlacedList[] {
  const lists = [transcript, ...(history?.bodies ?? []).map(({ messages }) => messages)];
  return lists.filter(({ list }) => list.length > 0).sort((a, b) => a.at - b.at);
}

/** Returns how many messages two lists are known to have in common at their beginnings. */
export function sharedPrefixLength(one: ListIndex, other: ListIndex): number {
  let [younger, older] = one.number > other.number ? [one, other] : [other, one];
  let count = older.length;
  while (younger !== older) {
    if (!younger.shared) return 0;
    count = Math.min(count, younger.shared.count);
    const next = younger.shared.with;
    [younger, older] = next.number > older.number ? [next, older] : [older, next];
  }
  return count;
}

/** Returns the digest of a range of a list, if it was computed for this list or for one that shares the messages. */
export function knownDigest(list: ListIndex, from: number, to: number): string | undefined {
  for (let current = list; ;) {
    const digest = current.digests.get(`${from} ${to}`);
    if (digest !== undefined || !current.shared || current.shared.count < to) return digest;
    current = current.shared.with;
  }
}

/** Returns the key of `count` messages of one list and as many of another one. */
export const equalRangeKey = (number: number, from: number, other: number, otherFrom: number, count: number): string =>
  `${number} ${from} ${other} ${otherFrom} ${count}`;

/** Whether the index proves that `count` messages of two lists are equal. False means that it cannot decide. */
export function areKnownEqual(
  { equalRanges }: SessionIndex,
  one: ListIndex,
  from: number,
  other: ListIndex,
  otherFrom: number,
  count: number,
): boolean {
  return (
    (from === otherFrom && from + count <= sharedPrefixLength(one, other)) ||
    equalRanges.has(equalRangeKey(one.number, from, other.number, otherFrom, count)) ||
    equalRanges.has(equalRangeKey(other.number, otherFrom, one.number, from, count))
  );
}

/** Returns about how many bytes of memory an index takes. Data that sessions share is counted in each. */
export function memoryBytes(index: SessionIndex): number {
  const { history } = index;
  let bytes = 1024 + index.equalRanges.size * 64 + (history?.commits.length ?? 0) * 1024;
  for (const { list } of placedLists(index)) {
    bytes += 512 + list.starts.byteLength + list.ends.byteLength + 2 * (list.systemText?.length ?? 0);
    bytes += list.digests.size * 160 + list.transientNotices.length * 8;
  }
  return bytes;
}
