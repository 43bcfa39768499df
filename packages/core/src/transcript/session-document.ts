import type { SessionId } from "@bolthole/contract";
import { type Session, readSession, readTranscriptHistory } from "@bolthole/json";
import { History } from "./history.js";
import type { SessionIndex } from "./remembered-session.js";
import type { SessionText } from "./session-text.js";
import { type CheckTools, Transcript } from "./transcript.js";

/** What the guards look at in a session document. */
export class SessionDocument {
  private known: { readonly history: History | undefined } | undefined;

  private constructor(
    readonly id: SessionId,
    readonly transcript: Transcript,
    private readonly readHistory: () => History | undefined,
  ) {}

  /** A `JsonError` when the text is no session. Its bytes must stay as they are while the document is in use. */
  static read({ bytes, gaps }: SessionText, tools: CheckTools): SessionDocument {
    const { id, messages, metadata }: Session = readSession(bytes, gaps);
    return new SessionDocument(id, Transcript.read(messages, tools), () => {
      const history = readTranscriptHistory(metadata);
      return history && History.read(history, tools);
    });
  }

  static remembered({ id, transcript, history }: SessionIndex, tools: CheckTools): SessionDocument {
    return new SessionDocument(
      id,
      Transcript.remembered(transcript.messages, tools),
      () => history && History.remembered(history, tools),
    );
  }

  /** Undefined: the session was never rewritten. A `JsonError` when the metadata holds something else in its place. */
  history(): History | undefined {
    this.known ??= { history: this.readHistory() };
    return this.known.history;
  }

  /** The head that the history names, unchecked; without a history the digest of the messages (section 7.3). */
  revision(): string {
    return this.history()?.head ?? this.transcript.digest();
  }
}
