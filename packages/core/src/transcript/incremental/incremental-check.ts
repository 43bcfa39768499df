import type { ByteRange, TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";
import type { DocumentParts } from "../../engine.js";
import { type TranscriptVerdict, runGuard } from "../full-check.js";
import { GuardRefusalError } from "../guards/refusal.js";
import { History, HistoryCycleError } from "../history.js";
import { SessionDocument, parseSession } from "../session-document.js";
import { WorkLimitError, WorkMeter } from "../work-meter.js";
import { buildSessionIndex } from "./build-session-index.js";
import { TextPlan } from "./elided-text.js";
import { IndexContext, IndexedTranscript } from "./indexed-transcript.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { CacheMissError, type SessionIndex, placedLists } from "./session-index.js";

/** The longest text that is parsed here, in bytes. A longer one is left to a full check, which does not block the event loop. */
const MAX_TEXT = 512 * 1024;
const MAX_WORK = 8 * 1024 * 1024;

/** A document that is made from the stored one, and the index of the stored one. */
export interface IncrementalCheck {
  readonly document: DocumentParts;
  readonly index: SessionIndex;
  /** The check against the stored document. Without it, the document must only be a session. */
  readonly guard?: { readonly commit?: TranscriptRewriteCommit | undefined } | undefined;
  /** The length in bytes below which runs of messages are parsed again. Only tests set it. */
  readonly minElidedBytes?: number | undefined;
  /** Reads ranges of the stored document. */
  readRanges(ranges: readonly ByteRange[]): Promise<readonly Uint8Array[]>;
}

/**
 * Accepts a document without parsing unchanged messages of the stored one again. It parses the document's text with a gap
 * for each run of such messages. Every other byte is parsed, and a gap is valid only where a message of the same list may
 * be, so that the elided run is in the document as messages. The guards are those of the full check. Their transcripts
 * take the facts about elided messages from the index.
 *
 * Returns undefined when the index does not suffice, or the document would be refused. It then needs a full check, so that
 * both ways return the same verdict.
 */
export async function checkIncrementally(check: IncrementalCheck): Promise<TranscriptVerdict | undefined> {
  const { document, index, guard } = check;
  const plan = new TextPlan(document, placedLists(index), check.minElidedBytes);
  if (plan.length > MAX_TEXT) return undefined;
  const text = plan.text(await check.readRanges(plan.ranges()));
  const context = new IndexContext(index, new WorkMeter(MAX_WORK), await ResumableSha256.load());
  try {
    const incoming = parseSession(text.bytes, text.gaps, {
      meter: context.meter,
      transcriptOf: (messages) => IndexedTranscript.incoming(messages, context),
    });
    if (guard) runGuard(incoming, storedDocument(context), guard.commit);
    const next = buildSessionIndex({ document: incoming, text, before: index });
    return { kind: "accepted", id: incoming.id, index: next };
  } catch (error) {
    if (NEEDS_FULL_CHECK.some((kind) => error instanceof kind)) return undefined;
    throw error;
  }
}

const NEEDS_FULL_CHECK = [JsonError, GuardRefusalError, HistoryCycleError, CacheMissError, WorkLimitError];

/** Returns the stored document, all messages of which are elided. */
function storedDocument(context: IndexContext): SessionDocument {
  const { id, transcript, history } = context.index;
  return new SessionDocument(id, IndexedTranscript.stored(transcript.list, context), () => {
    if (!history) return undefined;
    const bodies = history.bodies.map(({ revision, parentRevision, createdAt, messages }) => ({
      revision,
      parentRevision,
      createdAt,
      transcript: IndexedTranscript.stored(messages.list, context),
    }));
    return new History({ head: history.head, commits: history.commits, bodies }, context.meter);
  });
}
