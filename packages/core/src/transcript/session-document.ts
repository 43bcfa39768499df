import type { SessionId } from "@bolthole/contract";
import { type Session, readSession, readTranscriptHistory } from "@bolthole/contract/json";
import { History } from "./history.js";
import { Transcript } from "./transcript.js";
import type { WorkMeter } from "./work-meter.js";

/** What the guards look at in a session document. */
export class SessionDocument {
  readonly id: SessionId;
  readonly transcript: Transcript;
  private known: { readonly history: History | undefined } | undefined;

  private constructor(
    private readonly session: Session,
    private readonly meter: WorkMeter,
  ) {
    this.id = session.id;
    this.transcript = new Transcript(session.messages, meter);
  }

  /** A `JsonError` when the bytes are no session. They must stay as they are while the document is in use. */
  static read(bytes: Uint8Array, meter: WorkMeter): SessionDocument {
    return new SessionDocument(readSession(bytes), meter);
  }

  /** Undefined: the session was never rewritten. A `JsonError` when the metadata holds something else in its place. */
  history(): History | undefined {
    if (this.known === undefined) {
      const history = readTranscriptHistory(this.session.metadata);
      this.known = { history: history && new History(history, this.meter) };
    }
    return this.known.history;
  }

  /** The head that the history names, unchecked; without a history the digest of the messages (section 7.3). */
  revision(): string {
    return this.history()?.head ?? this.transcript.digest();
  }
}
