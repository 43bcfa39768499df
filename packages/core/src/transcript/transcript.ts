import { type Hash, createHash } from "node:crypto";
import { type MessageList, readMessage } from "@bolthole/json";
import type { WorkMeter } from "./work-meter.js";

/**
 * The messages of one list of a session document: the session's transcript, or the copy of it in a revision body. A range
 * is half open, and messages are counted from 0.
 *
 * All transcripts of one check have the same implementation: `ParsedTranscript` in a full check, `IndexedTranscript` in an
 * incremental one. The latter throws `CacheMissError` where only the bytes of elided messages could decide.
 */
export interface Transcript {
  readonly length: number;
  /** Returns the digest of the messages in a range (contract 7.7); the range is the whole list if it is omitted. */
  digest(from?: number, to?: number): string;
  /** Whether `count` messages from `from` on equal those of `other` from `otherFrom` on, in canonical JSON. */
  equals(from: number, other: Transcript, otherFrom: number, count: number): boolean;
  /** Returns the text of the system message at the beginning, or undefined if the first message is another one. */
  leadingSystemText(): string | undefined;
  /** Returns the indexes of the notices that a runtime may remove again (contract 10.3 d), in ascending order. */
  transientNotices(): readonly number[];

  // The facts below are for the session index.

  /** The list in the incoming document; undefined if the transcript is one of the stored document's. */
  readonly messages: MessageList | undefined;
  /** The state of a SHA-256 computation over all messages, where it is known. */
  readonly sha256State?: Uint8Array | undefined;
  /** Returns the digests that were computed so far; a key is `from to`. */
  computedDigests(): ReadonlyMap<string, string>;
}

/** Whether a transcript begins with all messages of `prefix`. */
export const startsWith = (transcript: Transcript, prefix: Transcript): boolean =>
  transcript.equals(0, prefix, 0, prefix.length);

/** Receives the equal ranges of different lists that a full check finds, so that an index can keep them. */
export interface EqualRangeListener {
  add(one: MessageList, from: number, other: MessageList, otherFrom: number, count: number): void;
}

/** The objects that all parsed transcripts of one check share. */
export interface CheckContext {
  readonly meter: WorkMeter;
  readonly equalRanges?: EqualRangeListener | undefined;
}

/** The work that one message costs besides its bytes, in bytes. */
const MESSAGE_WORK = 64;

const SYSTEM = Buffer.from('{"role":"system",');
const PENDING_NOTICE = Buffer.from('{"role":"system_notice","kind":"mcp_pending",');

interface MessageRange {
  readonly from: number;
  readonly to: number;
}

/** A rewrite compares the messages before its selection and those after it. */
const KNOWN_RANGES = 4;

/**
 * The ranges of one transcript that were found equal to ranges of others: the last few for each other transcript and distance
 * between the two ranges. A history that goes back and forth between two revisions compares them for each commit. Without
 * this, the work would grow with the number of commits times the length of the revisions, and a session that was accepted
 * turn by turn would reach the limit when it is checked as a whole.
 */
class KnownEqual {
  private readonly found = new Map<Transcript, Map<number, readonly MessageRange[]>>();

  has(from: number, other: Transcript, otherFrom: number, count: number): boolean {
    const ranges = this.found.get(other)?.get(otherFrom - from) ?? [];
    return ranges.some((range) => range.from <= from && from + count <= range.to);
  }

  add(from: number, other: Transcript, otherFrom: number, count: number): void {
    const ofOther = this.found.get(other) ?? new Map<number, readonly MessageRange[]>();
    const ranges = ofOther.get(otherFrom - from) ?? [];
    ofOther.set(otherFrom - from, [{ from, to: from + count }, ...ranges.slice(0, KNOWN_RANGES - 1)]);
    this.found.set(other, ofOther);
  }
}

/** A transcript whose messages were all parsed. It computes each digest once. */
export class ParsedTranscript implements Transcript {
  /** The digest of the whole list is kept apart, because most transcripts need no other one. */
  private wholeDigest: string | undefined;
  private rangeDigests: Map<string, string> | undefined;
  /** A hash over the messages of a range; a longer range with the same beginning continues it. */
  private running: { readonly from: number; readonly to: number; readonly hash: Hash } | undefined;
  private systemText: { readonly text: string | undefined } | undefined;
  private readonly known = new KnownEqual();

  constructor(
    readonly messages: MessageList,
    private readonly context: CheckContext,
  ) {}

  get length(): number {
    return this.messages.length;
  }

  digest(from = 0, to = this.length): string {
    if (from === 0 && to === this.length) return (this.wholeDigest ??= this.computeDigest(from, to));
    this.rangeDigests ??= new Map();
    const key = `${from} ${to}`;
    const digest = this.rangeDigests.get(key) ?? this.computeDigest(from, to);
    this.rangeDigests.set(key, digest);
    return digest;
  }

  equals(from: number, other: Transcript, otherFrom: number, count: number): boolean {
    if (!(other instanceof ParsedTranscript)) throw new TypeError("expected another parsed transcript to compare with");
    if (from + count > this.length || otherFrom + count > other.length) return false;
    const { meter, equalRanges } = this.context;
    if (this.known.has(from, other, otherFrom, count)) meter.charge(MESSAGE_WORK);
    else if (!this.compare(from, other, otherFrom, count)) return false;
    equalRanges?.add(this.messages, from, other.messages, otherFrom, count);
    return true;
  }

  private compare(from: number, other: ParsedTranscript, otherFrom: number, count: number): boolean {
    const { meter } = this.context;
    for (let step = 0; step < count; step++) {
      const message = this.messages.at(from + step);
      meter.charge(MESSAGE_WORK + (message.length >> 3));
      if (!message.equals(other.messages.at(otherFrom + step))) return false;
    }
    this.known.add(from, other, otherFrom, count);
    other.known.add(otherFrom, this, from, count);
    return true;
  }

  leadingSystemText(): string | undefined {
    this.systemText ??= { text: this.readSystemText() };
    return this.systemText.text;
  }

  transientNotices(): readonly number[] {
    const notices: number[] = [];
    for (let index = 0; index < this.length; index++) {
      this.context.meter.charge(MESSAGE_WORK);
      if (isTransientNotice(this.messages.at(index))) notices.push(index);
    }
    return notices;
  }

  computedDigests(): ReadonlyMap<string, string> {
    const digests = new Map(this.rangeDigests);
    if (this.wholeDigest !== undefined) digests.set(`0 ${this.length}`, this.wholeDigest);
    return digests;
  }

  private computeDigest(from: number, to: number): string {
    const { running } = this;
    const canContinue = running?.from === from && running.to <= to;
    const hash = canContinue ? running.hash : createHash("sha256").update("[");
    const start = canContinue ? running.to : from;
    // The hash is about to cover more messages than `running` records. If the meter throws, it must not be used again.
    this.running = undefined;
    const bytes = addMessages(hash, this.messages, start, to, start > from);
    this.context.meter.charge(MESSAGE_WORK + bytes);
    if (to === this.length) return finish(hash);
    this.running = { from, to, hash };
    return finish(hash.copy());
  }

  private readSystemText(): string | undefined {
    if (this.length === 0) return undefined;
    const message = this.messages.at(0);
    if (!hasPrefix(message, SYSTEM)) return undefined;
    const { content } = readMessage(message) as { readonly content?: { toString(): string } };
    return content?.toString();
  }
}

/**
 * Returns the digest of a message list (contract 7.7): `sha256:` and the hex SHA-256 of the list in canonical JSON. `from`
 * and `to` choose a half-open range of the messages; without them the digest is that of the whole list.
 */
export function transcriptMessagesDigest(messages: MessageList, from = 0, to: number = messages.length): string {
  const hash = createHash("sha256").update("[");
  addMessages(hash, messages, from, to, false);
  return finish(hash);
}

/** Adds messages and the commas between them to a hash, and returns how many bytes these are. */
function addMessages(hash: Hash, messages: MessageList, from: number, to: number, needsComma: boolean): number {
  let bytes = 0;
  let separator = needsComma;
  for (const slice of messages.slices(from, to)) {
    if (separator) hash.update(",");
    separator = true;
    hash.update(slice);
    bytes += slice.length + 1;
  }
  return bytes;
}

const finish = (hash: Hash): string => `sha256:${hash.update("]").digest("hex")}`;

/** Whether a message is a notice of pending MCP servers, none of whose blocks is persisted. */
function isTransientNotice(message: Buffer): boolean {
  if (!hasPrefix(message, PENDING_NOTICE)) return false;
  const notice = readMessage(message) as { readonly blocks?: readonly { kind: string; persisted?: boolean }[] };
  return (notice.blocks ?? []).every(({ kind, persisted }) => kind === "mcp" && persisted === false);
}

const hasPrefix = (message: Buffer, prefix: Buffer): boolean =>
  message.length >= prefix.length && message.compare(prefix, 0, prefix.length, 0, prefix.length) === 0;
