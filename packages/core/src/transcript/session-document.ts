import type { SessionId } from "@bolthole/contract";
import { type Gaps, type MessageList, readSession, readTranscriptHistory } from "@bolthole/json";
import { History } from "./history.js";
import type { Transcript } from "./transcript.js";
import type { WorkMeter } from "./work-meter.js";

/** The parts of a session document that the guards read. The history is read when it is first needed. */
export class SessionDocument {
  private known: { readonly history: History | undefined } | undefined;

  constructor(
    readonly id: SessionId,
    readonly transcript: Transcript,
    private readonly readHistory: () => History | undefined,
  ) {}

  /**
   * Returns the history, or undefined if the session was never rewritten. Throws `JsonError` when the metadata contains
   * a history of another shape.
   */
  history(): History | undefined {
    this.known ??= { history: this.readHistory() };
    return this.known.history;
  }

  /** Returns the head that the history names, unchecked; without a history, the digest of the messages (contract 7.7). */
  revision(): string {
    return this.history()?.head ?? this.transcript.digest();
  }
}

/** The way in which a check makes a transcript of each message list. */
export interface TranscriptSource {
  readonly meter: WorkMeter;
  transcriptOf(messages: MessageList): Transcript;
}

/**
 * Parses a session document, with a gap for each run of elided messages. The bytes must not change while the result is in
 * use. Throws `JsonError` when they are not a session (contract 7.1).
 */
export function parseSession(bytes: Uint8Array, gaps: Gaps | undefined, source: TranscriptSource): SessionDocument {
  const { id, messages, metadata } = readSession(bytes, gaps);
  return new SessionDocument(id, source.transcriptOf(messages), () => {
    const history = readTranscriptHistory(metadata);
    if (!history) return undefined;
    const bodies = history.revisions.map(({ revision, parentRevision, createdAt, messages: list }) => ({
      revision,
      parentRevision,
      createdAt,
      transcript: source.transcriptOf(list),
    }));
    return new History({ head: history.head, commits: history.commits, bodies }, source.meter);
  });
}
