import { type Hash, createHash } from "node:crypto";
import { type MessageList, readMessage } from "@bolthole/json";
import type { EqualSpans } from "./equal-spans.js";
import { CacheMiss, type RememberedMessages, rememberedDigest, sharedCount } from "./remembered-session.js";
import type { ResumableSha256 } from "./resumable-sha256.js";
import { type Segment, joined, segmentsOf } from "./segment.js";
import type { WorkMeter } from "./work-meter.js";

/** What looking at one message costs, in bytes. */
const MESSAGE_WORK = 64;

const SYSTEM = Buffer.from('{"role":"system",');
const PENDING_NOTICE = Buffer.from('{"role":"system_notice","kind":"mcp_pending",');

/** The digest of a message list (section 7.3): over the JSON list of the messages in their written form. */
export function transcriptMessagesDigest(messages: MessageList, from = 0, to: number = messages.length): string {
  const hash = createHash("sha256").update("[");
  addMessages(hash, messages, from, to, true);
  return digestText(hash);
}

/** What the transcripts of one check share. */
export interface CheckTools {
  readonly meter: WorkMeter;
  readonly equalSpans: EqualSpans;
  /** The lists of the stored document, and what goes on from their digests: only where they are remembered. */
  readonly remembered?: readonly RememberedMessages[] | undefined;
  readonly sha256?: ResumableSha256 | undefined;
}

/**
 * Messages of one document, with what was found out about them kept for the next question. Of remembered messages it
 * answers what is remembered, and throws `NotRemembered` where only their bytes could tell.
 */
export class Transcript {
  readonly length: number;
  private readonly segments: readonly Segment[];
  /** Of the whole; of spans, under their bounds. Most transcripts are only asked for the first. */
  private whole: string | undefined;
  private spans: Map<string, string> | undefined;
  /** Has taken the messages from `from` to `to`; a longer span from the same place goes on with it. */
  private running: { readonly from: number; readonly to: number; readonly hash: Hash } | undefined;
  private system: { readonly text: string | undefined } | undefined;
  /** Of the SHA-256 that has taken all messages. */
  sha256State: Uint8Array | undefined;

  private constructor(
    segments: readonly Segment[],
    private readonly tools: CheckTools,
    /** What it was read from. */
    readonly list?: MessageList,
  ) {
    this.segments = segments;
    this.length = segments.reduce((total, { count }) => total + count, 0);
  }

  static read(messages: MessageList, tools: CheckTools): Transcript {
    return new Transcript(joined(segmentsOf(messages)), tools, messages);
  }

  static remembered(messages: RememberedMessages, tools: CheckTools): Transcript {
    const { length } = messages;
    return new Transcript(length === 0 ? [] : [{ count: length, known: messages, from: 0 }], tools);
  }

  /** The pieces it is made of. */
  get parts(): readonly Segment[] {
    return this.segments;
  }

  /** The digests that were asked for, under `from to`. */
  knownDigests(): Map<string, string> {
    const digests = new Map(this.spans);
    if (this.whole !== undefined) digests.set(`0 ${this.length}`, this.whole);
    return digests;
  }

  digest(from = 0, to = this.length): string {
    if (from === 0 && to === this.length) return (this.whole ??= this.digestOf(from, to));
    this.spans ??= new Map();
    const key = `${from} ${to}`;
    const digest = this.spans.get(key) ?? this.digestOf(from, to);
    this.spans.set(key, digest);
    return digest;
  }

  /** Whether `count` messages from `from` on are those of the other transcript from `otherFrom` on. */
  equals(from: number, other: Transcript, otherFrom: number, count: number): boolean {
    if (from + count > this.length || otherFrom + count > other.length) return false;
    for (let done = 0; done < count;) {
      const mine = this.segmentAt(from + done);
      const theirs = other.segmentAt(otherFrom + done);
      const stretch = Math.min(mine.left, theirs.left, count - done);
      if (!this.isStretchEqual(mine, theirs, stretch)) return false;
      done += stretch;
    }
    this.tools.equalSpans.add({ one: this, from, other, otherFrom, count });
    return true;
  }

  /** With how many equal messages both begin, of those that were read. */
  commonPrefix(other: Transcript): number {
    const [mine] = this.segments;
    const [theirs] = other.segments;
    if (!mine || !theirs || !("read" in mine) || !("read" in theirs)) return 0;
    const most = Math.min(mine.count, theirs.count);
    let count = 0;
    while (count < most && mine.read.at(mine.from + count).equals(theirs.read.at(theirs.from + count))) count += 1;
    return count;
  }

  startsWith(prefix: Transcript): boolean {
    return this.equals(0, prefix, 0, prefix.length);
  }

  /** The same, for a prefix whose digest is said to be `digest`: where it is not, what counts is the name. */
  hasPrefix(prefix: Transcript, digest: string): boolean {
    if (prefix.length > this.length) return false;
    return prefix.digest() === digest ? this.startsWith(prefix) : this.digest(0, prefix.length) === digest;
  }

  /** The text of the system message that the transcript starts with. */
  leadingSystemText(): string | undefined {
    this.system ??= { text: this.readSystemText() };
    return this.system.text;
  }

  /** The messages that are no notices of servers still to come, which a runtime takes out again (section 8.2 d). */
  withoutTransientNotices(): number[] {
    const notices = new Set(this.transientNotices());
    return Array.from({ length: this.length }, (_, index) => index).filter((index) => !notices.has(index));
  }

  /** Those notices. */
  transientNotices(): number[] {
    const notices: number[] = [];
    let first = 0;
    for (const segment of this.segments) {
      const { count, from } = segment;
      if ("known" in segment) {
        for (const index of segment.known.transientNotices) {
          if (index >= from && index < from + count) notices.push(first + index - from);
        }
      } else {
        for (let index = 0; index < count; index++) {
          this.tools.meter.charge(MESSAGE_WORK);
          if (isTransientNotice(segment.read.at(from + index))) notices.push(first + index);
        }
      }
      first += count;
    }
    return notices;
  }

  /** Prepares for a transcript that goes on from this one, whose messages were all read. */
  makeResumable(sha256: ResumableSha256): void {
    if (this.length === 0 || this.sha256State) return;
    this.sha256State = sha256.goOn(undefined, this.texts(0, this.length, "["), "]").state;
  }

  private digestOf(from: number, to: number): string {
    const [first] = this.segments;
    const isRead = from === to || !first || "read" in first;
    return isRead ? this.readDigest(from, to) : this.rememberedDigest(from, to);
  }

  private readDigest(from: number, to: number): string {
    const { running } = this;
    const canGoOn = running?.from === from && running.to <= to;
    const hash = canGoOn ? running.hash : createHash("sha256").update("[");
    const start = canGoOn ? running.to : from;
    // It takes more now, and is of no use to others if that fails.
    this.running = undefined;
    let bytes = 0;
    for (const text of this.texts(start, to, start === from ? "" : ",")) {
      hash.update(text);
      bytes += text.length;
    }
    this.tools.meter.charge(MESSAGE_WORK + bytes);
    if (to === this.length) return digestText(hash);
    this.running = { from, to, hash };
    return digestText(hash.copy());
  }

  /** From what is kept of the messages that the transcript begins with. */
  private rememberedDigest(from: number, to: number): string {
    const start = this.segmentAt(from);
    if (start.segment && "known" in start.segment && to - from <= start.left) {
      const digest = rememberedDigest(start.segment.known, start.index, start.index + to - from);
      if (digest !== undefined) return digest;
    }
    const [first] = this.segments;
    const { sha256 } = this.tools;
    const state = first && "known" in first && first.from === 0 ? this.stateAfter(first.known, first.count) : undefined;
    if (from !== 0 || !first || !state || to < first.count || !sha256) throw new CacheMiss();
    const resumed = sha256.goOn(state, this.texts(first.count, to, ","), "]");
    if (to === this.length) this.sha256State = resumed.state;
    return `sha256:${resumed.digest}`;
  }

  /** Of the SHA-256 that has taken the first messages of a list, from any list that consists of just these. */
  private stateAfter(messages: RememberedMessages, count: number): Uint8Array | undefined {
    if (messages.length === count && messages.sha256State) return messages.sha256State;
    const same = this.tools.remembered?.find(
      (list) => list.length === count && list.sha256State && sharedCount(list, messages) >= count,
    );
    return same?.sha256State;
  }

  /** The messages with commas between them, after an opening text. All of them must have been read. */
  private *texts(from: number, to: number, opening: string): Generator<Buffer | string> {
    let before = opening;
    for (let at = from; at < to;) {
      const { segment, index, left } = this.segmentAt(at);
      if (!segment || "known" in segment) throw new CacheMiss();
      const count = Math.min(left, to - at);
      for (const slice of segment.read.slices(index, index + count)) {
        if (before !== "") yield before;
        before = ",";
        yield slice;
      }
      at += count;
    }
  }

  private isStretchEqual(mine: Place, theirs: Place, count: number): boolean {
    if (!mine.segment || !theirs.segment) return false;
    if ("read" in mine.segment && "read" in theirs.segment) {
      for (let step = 0; step < count; step++) {
        const message = mine.segment.read.at(mine.index + step);
        this.tools.meter.charge(MESSAGE_WORK + (message.length >> 3));
        if (!message.equals(theirs.segment.read.at(theirs.index + step))) return false;
      }
      return true;
    }
    if (!("known" in mine.segment) || !("known" in theirs.segment)) throw new CacheMiss();
    const { known } = mine.segment;
    const other = theirs.segment.known;
    if (mine.index === theirs.index && mine.index + count <= sharedCount(known, other)) return true;
    if (this.tools.equalSpans.isRemembered(known.number, mine.index, other.number, theirs.index, count)) return true;
    throw new CacheMiss();
  }

  /** The message's segment, its index there, and how many follow in the segment, itself included. */
  private segmentAt(message: number): Place {
    let first = 0;
    for (const segment of this.segments) {
      if (message < first + segment.count) {
        return { segment, index: segment.from + message - first, left: first + segment.count - message };
      }
      first += segment.count;
    }
    return { segment: undefined, index: 0, left: 0 };
  }

  private readSystemText(): string | undefined {
    const { segment, index } = this.segmentAt(0);
    if (!segment) return undefined;
    if ("known" in segment) {
      if (index > 0) throw new CacheMiss();
      return segment.known.systemText;
    }
    const message = segment.read.at(index);
    if (!startsWith(message, SYSTEM)) return undefined;
    const { content } = readMessage(message) as { readonly content?: { toString(): string } };
    return content?.toString();
  }
}

interface Place {
  readonly segment: Segment | undefined;
  readonly index: number;
  readonly left: number;
}

function addMessages(hash: Hash, messages: MessageList, from: number, to: number, isFirst: boolean): void {
  let needsComma = !isFirst;
  for (const slice of messages.slices(from, to)) {
    if (needsComma) hash.update(",");
    needsComma = true;
    hash.update(slice);
  }
}

function isTransientNotice(message: Buffer): boolean {
  if (!startsWith(message, PENDING_NOTICE)) return false;
  const notice = readMessage(message) as { readonly blocks?: readonly { kind: string; persisted?: boolean }[] };
  return (notice.blocks ?? []).every(({ kind, persisted }) => kind === "mcp" && persisted === false);
}

const digestText = (hash: Hash): string => `sha256:${hash.update("]").digest("hex")}`;

const startsWith = (message: Buffer, start: Buffer): boolean =>
  message.length >= start.length && message.compare(start, 0, start.length, 0, start.length) === 0;
