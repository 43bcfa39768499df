import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";
import type { DocumentParts } from "../engine.js";
import { type TranscriptVerdict, runGuard } from "./check.js";
import { EqualSpans } from "./equal-spans.js";
import { EndlessWalk } from "./malformed-history.js";
import { Refused } from "./refusal.js";
import { remember } from "./remember.js";
import { CacheMiss, type SessionIndex, placedLists } from "./remembered-session.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { SessionDocument } from "./session-document.js";
import { TextPlan } from "./session-text.js";
import { TooMuchWork, WorkMeter } from "./work-meter.js";

/** More text than this is left to a check of the whole, which does not hold the event loop. */
const MOST_TEXT = 512 * 1024;
const MOST_WORK = 8 * 1024 * 1024;

/** A document that is made from the stored one, and what is remembered of that. */
export interface IncrementalCheck {
  readonly document: DocumentParts;
  readonly before: SessionIndex;
  /** Absent: the document is only read. */
  readonly guard?: { readonly commit?: TranscriptRewriteCommit | undefined } | undefined;
  /** Shorter runs of messages are read again; in bytes. */
  readonly leastLeftOut?: number | undefined;
  /** Gives stretches of the stored document. */
  read(stretches: readonly { readonly offset: number; readonly length: number }[]): Promise<readonly Uint8Array[]>;
}

/**
 * Accepts a document without looking at messages of the stored one again. What it reads is the document's text with a gap for
 * each run of such messages: every other byte is parsed again, and a gap is good only where a message of the same list
 * may stand, so that the run lies in the document as messages. The guards are those of the whole check, over
 * transcripts that answer from what is remembered.
 *
 * Undefined: it cannot tell, or would refuse; then the whole check has the word. So both always give the same verdict.
 */
export async function checkIncrementally(check: IncrementalCheck): Promise<TranscriptVerdict | undefined> {
  const { document, before, guard } = check;
  const lists = placedLists(before);
  const plan = new TextPlan(document, lists, check.leastLeftOut);
  if (plan.length > MOST_TEXT) return undefined;
  const text = plan.text(await check.read(plan.stretches()));
  const tools = {
    meter: new WorkMeter(MOST_WORK),
    equalSpans: new EqualSpans(before.equalSpans),
    remembered: lists.map(({ messages }) => messages),
    sha256: await ResumableSha256.load(),
  };
  try {
    const incoming = SessionDocument.read(text, tools);
    if (guard) runGuard(incoming, SessionDocument.remembered(before, tools), guard.commit);
    const { id, transcript } = incoming;
    const remembered = remember({ id, transcript, history: incoming.history(), text }, tools.equalSpans, before);
    return { kind: "accepted", id, remembered };
  } catch (error) {
    if (CANNOT_TELL.some((kind) => error instanceof kind)) return undefined;
    throw error;
  }
}

const CANNOT_TELL = [JsonError, Refused, EndlessWalk, CacheMiss, TooMuchWork];
