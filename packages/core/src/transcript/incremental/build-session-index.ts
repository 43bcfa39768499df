import type { MessageList } from "@bolthole/json";
import type { History } from "../history.js";
import type { SessionDocument } from "../session-document.js";
import type { EqualRangeListener, Transcript } from "../transcript.js";
import { WorkLimitError } from "../work-meter.js";
import type { DocumentText } from "./elided-text.js";
import { runsOf } from "./indexed-transcript.js";
import type { ResumableSha256 } from "./resumable-sha256.js";
import { CacheMissError, type ListIndex, type PlacedList, type SessionIndex, equalRangeKey } from "./session-index.js";

/** The equal ranges of different lists that a full check found. */
export class EqualRanges implements EqualRangeListener {
  private readonly found: {
    readonly one: MessageList;
    readonly from: number;
    readonly other: MessageList;
    readonly otherFrom: number;
    readonly count: number;
  }[] = [];

  add(one: MessageList, from: number, other: MessageList, otherFrom: number, count: number): void {
    if (one !== other && count > 0) this.found.push({ one, from, other, otherFrom, count });
  }

  /** Returns the keys of the ranges whose lists are both indexed. */
  keys(indexOf: (list: MessageList) => ListIndex | undefined): ReadonlySet<string> {
    const keys = new Set<string>();
    for (const { one, from, other, otherFrom, count } of this.found) {
      const index = indexOf(one);
      const otherIndex = indexOf(other);
      if (index && otherIndex) keys.add(equalRangeKey(index.number, from, otherIndex.number, otherFrom, count));
    }
    return keys;
  }
}

/** An accepted document, and the facts that its check found. */
export interface AcceptedDocument {
  readonly document: SessionDocument;
  readonly text: DocumentText;
  /** The index of the stored document, after an incremental check. */
  readonly before?: SessionIndex | undefined;
  /** The equal ranges, after a full check. */
  readonly equalRanges?: EqualRanges | undefined;
  /** Makes the states from which the next turn continues the digests of the lists that grow. Only after a full check with a guard. */
  readonly sha256?: ResumableSha256 | undefined;
}

/**
 * Builds the index of an accepted document for the check of the next one. Returns undefined if the document has a form
 * that an index cannot describe; the next document then gets a full check. Throws `JsonError` when the metadata contains a
 * history of another shape, which a document without a guard may have.
 */
export function buildSessionIndex({
  document,
  text,
  before,
  equalRanges,
  sha256,
}: AcceptedDocument): SessionIndex | undefined {
  try {
    const { id, transcript } = document;
    const history = document.history();
    const lists = new ListIndexer(text, before?.nextNumber ?? 0);
    if (history && sha256) lists.makeResumable(transcript, history, sha256);
    const placed = lists.place(transcript, undefined);
    const bodies = history?.bodies.map(({ revision, parentRevision, createdAt, transcript: body }) => ({
      revision,
      parentRevision,
      createdAt,
      messages: lists.place(body, history.body(parentRevision ?? "")?.transcript),
    }));
    return {
      id,
      transcript: placed,
      history: history && { head: history.head, commits: history.commits, bodies: bodies ?? [] },
      equalRanges: before?.equalRanges ?? equalRanges?.keys((list) => lists.indexOf(list)) ?? new Set(),
      nextNumber: lists.nextNumber,
    };
  } catch (error) {
    if (error instanceof CacheMissError || error instanceof WorkLimitError) return undefined;
    throw error;
  }
}

/** Indexes the lists of one document. It finds their places, and gives numbers to the new ones. */
class ListIndexer {
  private readonly indexes = new Map<MessageList, ListIndex>();
  private readonly placed = new Set<ListIndex>();
  private readonly sha256States = new Map<Transcript, Uint8Array>();

  constructor(
    private readonly text: DocumentText,
    public nextNumber: number,
  ) {}

  indexOf(list: MessageList): ListIndex | undefined {
    return this.indexes.get(list);
  }

  /** Computes the SHA-256 state of the lists that the next turn extends: the messages, and the body of the head. */
  makeResumable(transcript: Transcript, history: History, sha256: ResumableSha256): void {
    const { messages } = transcript;
    if (!messages || transcript.length === 0) return;
    const { state } = sha256.resume(undefined, openedList(messages), "]");
    this.sha256States.set(transcript, state);
    const digest = transcript.digest();
    for (const { revision, transcript: body } of history.bodies) {
      // Equal digests mean equal canonical JSON, and so equal states.
      if (revision === digest && body.length === transcript.length) this.sha256States.set(body, state);
    }
  }

  /** Returns the index and the place of a list. `parent` is the list that this one was probably made from. */
  place(transcript: Transcript, parent: Transcript | undefined): PlacedList {
    const { messages } = transcript;
    const origin = messages?.originIn(this.text.bytes);
    if (!messages || origin === undefined) throw new CacheMissError();
    const offsetOf = (place: number): number => this.text.offsetOf(origin + place);
    const unchanged = unchangedList(messages);
    if (unchanged) {
      this.add(messages, unchanged);
      // Otherwise the index would keep lists that are no longer in the document, and grow with every turn.
      if (unchanged.shared && !this.placed.has(unchanged.shared.with)) throw new CacheMissError();
      return { list: unchanged, at: offsetOf(messages.gaps[0]?.place ?? 0) };
    }
    const { at, starts, ends } = messageRanges(transcript.length, messages, offsetOf);
    const list = {
      number: this.nextNumber++,
      length: transcript.length,
      starts,
      ends,
      depth: messages.depth,
      isCanonicalRawJson: messages.isCanonicalRawJson,
      digests: transcript.computedDigests(),
      sha256State: transcript.sha256State ?? this.sha256States.get(transcript),
      systemText: transcript.leadingSystemText(),
      transientNotices: transcript.transientNotices(),
      shared: this.shared(messages, parent?.messages),
    };
    this.add(messages, list);
    return { list, at };
  }

  private add(messages: MessageList, list: ListIndex): void {
    this.indexes.set(messages, list);
    this.placed.add(list);
  }

  private shared(messages: MessageList, parent: MessageList | undefined): ListIndex["shared"] {
    const [first] = runsOf(messages);
    if (first?.kind === "elided") {
      const { list, from, count } = first.elided;
      return from === 0 && this.placed.has(list) ? { with: list, count } : undefined;
    }
    const list = parent && this.indexes.get(parent);
    const count = parent && list ? commonPrefixLength(messages, parent) : 0;
    return list && count > 0 ? { with: list, count } : undefined;
  }
}

/** Yields all messages of a list, after the beginning of its JSON. */
function* openedList(messages: MessageList): Generator<Buffer | string> {
  let before = "[";
  for (const slice of messages.slices(0, messages.length)) {
    yield before;
    yield slice;
    before = ",";
  }
}

/** Returns the index of a stored list that the document contains unchanged, with nothing before, between or after its messages. */
function unchangedList(messages: MessageList): ListIndex | undefined {
  const [run, second] = runsOf(messages);
  if (run?.kind !== "elided" || second) return undefined;
  const { list, from, count } = run.elided;
  return from === 0 && count === list.length ? list : undefined;
}

/** Returns how many equal messages two lists begin with; elided messages end the comparison. */
function commonPrefixLength(one: MessageList, other: MessageList): number {
  const most = Math.min(one.gaps[0]?.before ?? one.length, other.gaps[0]?.before ?? other.length);
  let count = 0;
  while (count < most && one.at(count).equals(other.at(count))) count += 1;
  return count;
}

/** Returns the offset of a list's first message, and the byte range of each message from there. */
function messageRanges(
  length: number,
  messages: MessageList,
  offsetOf: (place: number) => number,
): { at: number; starts: Uint32Array; ends: Uint32Array } {
  const starts = new Uint32Array(length);
  const ends = new Uint32Array(length);
  let at: number | undefined;
  let index = 0;
  for (const run of runsOf(messages)) {
    if (run.kind === "elided") {
      const { list, from, count } = run.elided;
      const offset = offsetOf(run.place);
      at ??= offset;
      const shift = offset - (list.starts[from] ?? 0) - at;
      if (shift === 0) {
        starts.set(list.starts.subarray(from, from + count), index);
        ends.set(list.ends.subarray(from, from + count), index);
      } else {
        for (let step = 0; step < count; step++) {
          starts[index + step] = (list.starts[from + step] ?? 0) + shift;
          ends[index + step] = (list.ends[from + step] ?? 0) + shift;
        }
      }
      index += count;
    } else {
      for (let step = 0; step < run.count; step++) {
        const [start, end] = messages.placeOf(run.from + step);
        const offset = offsetOf(start);
        at ??= offset;
        starts[index + step] = offset - at;
        ends[index + step] = offset - at + end - start;
      }
      index += run.count;
    }
  }
  return { at: at ?? 0, starts, ends };
}
