import type { MessageList } from "@bolthole/json";
import type { EqualSpans } from "./equal-spans.js";
import type { Body, History } from "./history.js";
import { CacheMiss, type PlacedMessages, type RememberedMessages, type SessionIndex } from "./remembered-session.js";
import type { ResumableSha256 } from "./resumable-sha256.js";
import { segmentsOf } from "./segment.js";
import type { SessionText } from "./session-text.js";
import type { Transcript } from "./transcript.js";
import { TooMuchWork } from "./work-meter.js";

/** A document that a check accepted, as it was read. */
export interface AcceptedDocument {
  readonly id: string;
  readonly transcript: Transcript;
  readonly history: History | undefined;
  readonly text: SessionText;
}

/**
 * What to keep of an accepted document for the check of the next one. Undefined: it has a form that cannot be followed, so
 * the next check is made over the whole document.
 */
export function remember(
  { id, transcript, history, text }: AcceptedDocument,
  equalSpans: EqualSpans,
  before: SessionIndex | undefined,
): SessionIndex | undefined {
  const placer = new Placer(text, before?.nextNumber ?? 0);
  try {
    const main = placer.place(transcript, undefined);
    const bodies = history?.bodies.map((body: Body) => ({
      revision: body.revision,
      parentRevision: body.parentRevision,
      createdAt: body.createdAt,
      messages: placer.place(body.transcript, history.body(body.parentRevision ?? "")?.transcript),
    }));
    return {
      id,
      transcript: main,
      history: history && { head: history.head, commits: history.commits, bodies: bodies ?? [] },
      equalSpans: before?.equalSpans ?? equalSpans.toRemember((one) => placer.numberOf(one)),
      nextNumber: placer.nextNumber,
    };
  } catch (error) {
    if (error instanceof CacheMiss || error instanceof TooMuchWork) return undefined;
    throw error;
  }
}

/** Lets the lists that the next turn adds to go on from their digests: those of the head's messages. */
export function makeResumable(transcript: Transcript, history: History, sha256: ResumableSha256): void {
  transcript.makeResumable(sha256);
  const digest = transcript.digest();
  for (const { revision, transcript: body } of history.bodies) {
    // The same digest, so the same written form, and the same way to it.
    if (revision === digest && body.length === transcript.length) body.sha256State = transcript.sha256State;
  }
}

/** Gives the lists of one document their places, and the new ones their numbers. */
class Placer {
  private readonly placed = new Map<Transcript, RememberedMessages>();

  constructor(
    private readonly text: SessionText,
    public nextNumber: number,
  ) {}

  numberOf(transcript: Transcript): number | undefined {
    return this.placed.get(transcript)?.number;
  }

  /** `parent` is the list that this one was probably made from. */
  place(transcript: Transcript, parent: Transcript | undefined): PlacedMessages {
    const { list } = transcript;
    const origin = list?.originIn(this.text.bytes);
    if (!list || origin === undefined) throw new CacheMiss();
    const offsetOf = (place: number): number => this.text.offsetOf(origin + place);
    const known = wholeKnown(list);
    if (known) {
      this.placed.set(transcript, known);
      // What is kept must not grow by lists that no document has any more.
      if (known.shared && !this.isPlaced(known.shared.with)) throw new CacheMiss();
      return { messages: known, at: offsetOf(list.gaps[0]?.place ?? 0) };
    }
    const { at, starts, ends } = places(transcript.length, list, offsetOf);
    const messages = {
      number: this.nextNumber++,
      length: transcript.length,
      starts,
      ends,
      depth: list.depth,
      isNormalised: list.isCanonicalRawJson,
      digests: transcript.knownDigests(),
      sha256State: transcript.sha256State,
      systemText: transcript.leadingSystemText(),
      transientNotices: transcript.transientNotices(),
      shared: this.shared(transcript, parent),
    };
    this.placed.set(transcript, messages);
    return { messages, at };
  }

  private shared(transcript: Transcript, parent: Transcript | undefined): RememberedMessages["shared"] {
    const [first] = transcript.parts;
    if (first && "known" in first) {
      return first.from === 0 && this.isPlaced(first.known) ? { with: first.known, count: first.count } : undefined;
    }
    const messages = parent && this.placed.get(parent);
    const count = parent && messages ? transcript.commonPrefix(parent) : 0;
    return messages && count > 0 ? { with: messages, count } : undefined;
  }

  private isPlaced(messages: RememberedMessages): boolean {
    for (const one of this.placed.values()) if (one === messages) return true;
    return false;
  }
}

/** The remembered list that stands here as it stood, with nothing before, behind or inside it. */
function wholeKnown(list: MessageList): RememberedMessages | undefined {
  const [segment, second] = segmentsOf(list);
  if (!segment || second || !("known" in segment)) return undefined;
  return segment.from === 0 && segment.count === segment.known.length ? segment.known : undefined;
}

/** Where the messages of a list lie, from where the first one begins. */
function places(
  length: number,
  list: MessageList,
  offsetOf: (place: number) => number,
): { at: number; starts: Uint32Array; ends: Uint32Array } {
  const starts = new Uint32Array(length);
  const ends = new Uint32Array(length);
  let at: number | undefined;
  let index = 0;
  let gaps = 0;
  for (const part of segmentsOf(list)) {
    const { count, from } = part;
    if ("known" in part) {
      const offset = offsetOf(list.gaps[gaps++]?.place ?? 0);
      at ??= offset;
      const shift = offset - (part.known.starts[from] ?? 0) - at;
      if (shift === 0) {
        starts.set(part.known.starts.subarray(from, from + count), index);
        ends.set(part.known.ends.subarray(from, from + count), index);
      } else {
        for (let step = 0; step < count; step++) {
          starts[index + step] = (part.known.starts[from + step] ?? 0) + shift;
          ends[index + step] = (part.known.ends[from + step] ?? 0) + shift;
        }
      }
    } else {
      for (let step = 0; step < count; step++) {
        const [start, end] = list.placeOf(from + step);
        const offset = offsetOf(start);
        at ??= offset;
        starts[index + step] = offset - at;
        ends[index + step] = offset - at + end - start;
      }
    }
    index += count;
  }
  return { at: at ?? 0, starts, ends };
}
