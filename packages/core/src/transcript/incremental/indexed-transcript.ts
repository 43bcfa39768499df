import { hash } from "node:crypto";
import type { MessageList } from "@bolthole/json";
import { ParsedTranscript, type Transcript } from "../transcript.js";
import type { WorkMeter } from "../work-meter.js";
import type { ResumableSha256 } from "./resumable-sha256.js";
import {
  CacheMissError,
  ElidedMessages,
  type ListIndex,
  type SessionIndex,
  areKnownEqual,
  knownDigest,
  placedLists,
  sharedPrefixLength,
} from "./session-index.js";

/** Consecutive messages of a list: parsed ones, from index `from` of the parsed messages on, or elided ones. */
export type Run =
  | { readonly kind: "parsed"; readonly from: number; readonly count: number }
  | { readonly kind: "elided"; readonly elided: ElidedMessages; readonly place: number };

/** Returns the runs of a list. `place` of an elided run is its offset in the text that was parsed. */
export function runsOf(messages: MessageList): Run[] {
  const runs: Run[] = [];
  let from = 0;
  const addParsed = (to: number): void => {
    if (to > from) runs.push({ kind: "parsed", from, count: to - from });
    from = to;
  };
  for (const { before, gap, place } of messages.gaps) {
    addParsed(before);
    if (!(gap instanceof ElidedMessages)) throw new TypeError("expected a gap that an elided text made");
    runs.push({ kind: "elided", elided: gap, place });
  }
  addParsed(messages.length);
  return runs;
}

/** The objects that all transcripts of one incremental check share. */
export class IndexContext {
  private readonly lists: readonly ListIndex[];

  constructor(
    readonly index: SessionIndex,
    readonly meter: WorkMeter,
    readonly sha256: ResumableSha256,
  ) {
    this.lists = placedLists(index).map(({ list }) => list);
  }

  /** Returns the SHA-256 state over the first `count` messages of a list, from any list that consists of just these. */
  sha256StateAfter(list: ListIndex, count: number): Uint8Array | undefined {
    if (list.length === count && list.sha256State) return list.sha256State;
    const same = this.lists.find(
      (other) => other.length === count && other.sha256State && sharedPrefixLength(other, list) >= count,
    );
    return same?.sha256State;
  }
}

/**
 * A transcript of which only some messages were parsed. The others are elided; the index of the stored document has
 * facts about them.
 *
 * Digests and comparisons are known for elided messages at the beginning of the list, the head, and for parsed messages
 * after them. Every list has this form after an append. Lists of another form occur when a document is stored without a
 * guard; a guard that meets one gets a cache miss.
 */
export class IndexedTranscript implements Transcript {
  sha256State: Uint8Array | undefined;
  private readonly head: ElidedMessages | undefined;
  private readonly headLength: number;
  /** Whether elided messages follow parsed ones, or other elided ones. */
  private readonly isScattered: boolean;
  private digests: Map<string, string> | undefined;

  private constructor(
    readonly length: number,
    private readonly runs: readonly Run[],
    /** The messages that were parsed; undefined for a list of the stored document. */
    private readonly parsed: ParsedTranscript | undefined,
    private readonly context: IndexContext,
  ) {
    const [first, ...others] = runs;
    this.head = first?.kind === "elided" ? first.elided : undefined;
    this.headLength = this.head?.count ?? 0;
    this.isScattered = others.some(({ kind }) => kind === "elided");
  }

  /** Returns the transcript of a list of the stored document. */
  static stored(list: ListIndex, context: IndexContext): IndexedTranscript {
    const { length } = list;
    const elided = new ElidedMessages(list, 0, length);
    return new IndexedTranscript(length, length > 0 ? [{ kind: "elided", elided, place: 0 }] : [], undefined, context);
  }

  /** Returns the transcript of a list of the incoming document, as it was parsed from an elided text. */
  static incoming(messages: MessageList, context: IndexContext): IndexedTranscript {
    const length = messages.gaps.reduce((total, { gap }) => total + gap.count, messages.length);
    return new IndexedTranscript(length, runsOf(messages), new ParsedTranscript(messages, context), context);
  }

  get messages(): MessageList | undefined {
    return this.parsed?.messages;
  }

  digest(from = 0, to = this.length): string {
    this.digests ??= new Map();
    const key = `${from} ${to}`;
    const digest = this.digests.get(key) ?? this.findDigest(from, to);
    this.digests.set(key, digest);
    return digest;
  }

  equals(from: number, other: Transcript, otherFrom: number, count: number): boolean {
    if (!(other instanceof IndexedTranscript))
      throw new TypeError("expected another indexed transcript to compare with");
    if (from + count > this.length || otherFrom + count > other.length) return false;
    if (count === 0) return true;
    const { head, headLength } = this;
    if (head && other.head && from + count <= headLength && otherFrom + count <= other.headLength) {
      const { index } = this.context;
      if (areKnownEqual(index, head.list, head.from + from, other.head.list, other.head.from + otherFrom, count)) {
        return true;
      }
    } else if (from >= headLength && otherFrom >= other.headLength && !this.isScattered && !other.isScattered) {
      if (this.parsed && other.parsed) {
        return this.parsed.equals(from - headLength, other.parsed, otherFrom - other.headLength, count);
      }
    }
    throw new CacheMissError();
  }

  leadingSystemText(): string | undefined {
    if (!this.head) return this.parsed?.leadingSystemText();
    if (this.head.from > 0) throw new CacheMissError();
    return this.head.list.systemText;
  }

  transientNotices(): readonly number[] {
    const parsedNotices = this.parsed?.transientNotices() ?? [];
    const notices: number[] = [];
    let first = 0;
    for (const run of this.runs) {
      const { from, count } = run.kind === "elided" ? run.elided : run;
      const known = run.kind === "elided" ? run.elided.list.transientNotices : parsedNotices;
      for (const index of known) if (index >= from && index < from + count) notices.push(first + index - from);
      first += count;
    }
    return notices;
  }

  computedDigests(): ReadonlyMap<string, string> {
    return new Map(this.digests);
  }

  private findDigest(from: number, to: number): string {
    if (from === to) return EMPTY_DIGEST;
    const { head, headLength, parsed } = this;
    if (head && to <= headLength) {
      const digest = knownDigest(head.list, head.from + from, head.from + to);
      if (digest !== undefined) return digest;
    }
    if (to > headLength && this.isScattered) throw new CacheMissError();
    if (from >= headLength && parsed) return parsed.digest(from - headLength, to - headLength);
    return this.resumedDigest(from, to);
  }

  /** Continues the SHA-256 computation over the elided messages with the parsed ones. */
  private resumedDigest(from: number, to: number): string {
    const { head, headLength, parsed, context } = this;
    const isWholeHead = from === 0 && head?.from === 0 && to >= headLength;
    const state = isWholeHead ? context.sha256StateAfter(head.list, headLength) : undefined;
    if (!state) throw new CacheMissError();
    const texts = parsed && to > headLength ? continuation(parsed.messages, to - headLength) : [];
    const resumed = context.sha256.resume(state, texts, "]");
    if (to === this.length) this.sha256State = resumed.state;
    return `sha256:${resumed.digest}`;
  }
}

/** The digest of an empty list. */
const EMPTY_DIGEST = `sha256:${hash("sha256", "[]")}`;

/** Yields the first `count` messages, each slice with a comma before it. */
function* continuation(messages: MessageList, count: number): Generator<Buffer | string> {
  for (const slice of messages.slices(0, count)) {
    yield ",";
    yield slice;
  }
}
