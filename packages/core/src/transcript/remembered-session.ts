import type { SessionId, SystemTime, TranscriptRewriteCommit } from "@bolthole/contract";

/**
 * What is kept of a message list that was read as part of a stored document: enough to tell its messages in the next
 * document, and what a check wants to know of them, without their bytes. Plain data, which can come from another thread.
 */
export interface RememberedMessages {
  /** Tells it from the other lists of its session. */
  readonly number: number;
  readonly length: number;
  /** Where each message begins and ends, from where the first one begins. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  /** Containers around the messages; they may not stand deeper elsewhere. */
  readonly depth: number;
  /** They stand in the written form of free JSON. */
  readonly isNormalised: boolean;
  /** Digests of spans that were asked for, under `from to`. */
  readonly digests: ReadonlyMap<string, string>;
  /** Of the SHA-256 that has taken all messages, but not yet the end of the list. */
  readonly sha256State: Uint8Array | undefined;
  /** Of the system message at the beginning. */
  readonly systemText: string | undefined;
  /** Which messages are notices that a runtime takes out again (section 8.2 d). */
  readonly transientNotices: readonly number[];
  /** A list of the same session, made earlier, that begins with the same messages. */
  readonly shared: { readonly with: RememberedMessages; readonly count: number } | undefined;
}

/** With how many messages both lists are known to begin. A list is younger than the one that it shares messages with. */
export function sharedCount(one: RememberedMessages, other: RememberedMessages): number {
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

/** The digest of messages of a list, from whichever of the lists that share them was asked for it. */
export function rememberedDigest(messages: RememberedMessages, from: number, to: number): string | undefined {
  for (let list = messages; ;) {
    const digest = list.digests.get(`${from} ${to}`);
    if (digest !== undefined || !list.shared || list.shared.count < to) return digest;
    list = list.shared.with;
  }
}

/** A list in a document. */
export interface PlacedMessages {
  readonly messages: RememberedMessages;
  /** Where its first message begins, in bytes. */
  readonly at: number;
}

export interface RememberedBody {
  readonly revision: string;
  readonly parentRevision: string | undefined;
  readonly createdAt: SystemTime;
  readonly messages: PlacedMessages;
}

export interface RememberedHistory {
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly bodies: readonly RememberedBody[];
}

/** What is kept of a stored session document for the check of the next one. */
export interface SessionIndex {
  readonly id: SessionId;
  readonly transcript: PlacedMessages;
  readonly history: RememberedHistory | undefined;
  /** Spans of different lists that were found equal, as `spanKey` spells them. */
  readonly equalSpans: ReadonlySet<string>;
  /** For the next list. */
  readonly nextNumber: number;
}

/** Messages of one list from `from` on, and as many of another one from `otherFrom` on. */
export const spanKey = (number: number, from: number, other: number, otherFrom: number, count: number): string =>
  `${number} ${from} ${other} ${otherFrom} ${count}`;

/** All lists in the order in which they stand in the document. */
export function placedLists({ transcript, history }: SessionIndex): PlacedMessages[] {
  const lists = [transcript, ...(history?.bodies ?? []).map(({ messages }) => messages)];
  return lists.filter(({ messages }) => messages.length > 0).sort((a, b) => a.at - b.at);
}

/** About how much memory it takes, in bytes. Lists that sessions share are counted in each. */
export function sizeOf(session: SessionIndex): number {
  const { history } = session;
  let size = 1024 + session.equalSpans.size * 64 + (history?.commits.length ?? 0) * 1024;
  for (const { messages } of placedLists(session)) {
    size += 512 + messages.starts.byteLength + messages.ends.byteLength + 2 * (messages.systemText?.length ?? 0);
    size += messages.digests.size * 160 + messages.transientNotices.length * 8;
  }
  return size;
}

/** The check asks for something that was not kept: it has to be made over the whole document. */
export class CacheMiss extends Error {}
