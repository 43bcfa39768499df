import { createHash } from "node:crypto";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { writeRewriteCommit } from "@bolthole/json";
import type { Random } from "../random.js";
import { INSTANT, exchange, prose, userMessage } from "./records.js";

const TIME = { secs_since_epoch: 1779982287, nanos_since_epoch: 123456789 };
const COMMITTED_AT = { seconds: 1779982290n, nanos: 500 };
const USAGE = { input_tokens: 0, output_tokens: 0, cache_creation_tokens: null, cache_read_tokens: null };

/** A complete copy of the transcript at one revision. */
interface Body {
  readonly revision: string;
  readonly parent: string | undefined;
  readonly messages: readonly string[];
}

interface History {
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly bodies: readonly Body[];
}

/** The next state of a session. `adopt` it when it is known to be stored. */
export interface SessionStep {
  /** The messages as JSON. */
  readonly messages: readonly string[];
  readonly history: History | undefined;
}

export interface RewriteStep extends SessionStep {
  readonly commit: TranscriptRewriteCommit;
}

/** A session that grows by turns and is sometimes rewritten. Every document follows the transcript rules. */
export class SessionScript {
  private current: SessionStep;

  constructor(
    readonly id: string,
    firstMessageBytes: number,
    random: Random,
  ) {
    const first = JSON.stringify({ role: "system", content: prose(random, firstMessageBytes), created_at: INSTANT });
    this.current = { messages: [first], history: undefined };
  }

  /** Returns the session with one more turn. */
  next(random: Random, nonce: string): SessionStep {
    const messages = [...this.current.messages, ...exchange(random, nonce)];
    const { history } = this.current;
    if (!history) return { messages, history };
    const revision = revisionOf(messages);
    const body = { revision, parent: history.head, messages };
    return { messages, history: { ...history, head: revision, bodies: [...history.bodies, body] } };
  }

  /** Returns the session with one message in place of several, and the commit that the rewrite guard requires. */
  rewrite(random: Random, nonce: string): RewriteStep {
    const { messages: before, history } = this.current;
    // The system message stays.
    const start = Math.min(1 + random.below(before.length), before.length);
    const end = start + random.below(before.length - start + 1);
    const replacement = [userMessage(`${nonce} ${prose(random, 60)}`)];
    const messages = [...before.slice(0, start), ...replacement, ...before.slice(end)];
    const parentRevision = revisionOf(before);
    const revision = revisionOf(messages);
    const commit: TranscriptRewriteCommit = {
      parentRevision,
      revision,
      selection: { kind: "message_range", start: BigInt(start), end: BigInt(end) },
      originalSpanDigest: revisionOf(before.slice(start, end)),
      replacementDigest: revisionOf(replacement),
      messagesBefore: BigInt(before.length),
      messagesAfter: BigInt(messages.length),
      reason: { kind: "compaction", note: nonce },
      committedAt: COMMITTED_AT,
    };
    const bodies = history?.bodies ?? [{ revision: parentRevision, parent: undefined, messages: before }];
    return {
      commit,
      messages,
      history: {
        head: revision,
        commits: [...(history?.commits ?? []), commit],
        bodies: [...bodies, { revision, parent: parentRevision, messages }],
      },
    };
  }

  adopt({ messages, history }: SessionStep): void {
    this.current = { messages, history };
  }

  document({ messages, history }: SessionStep): Buffer {
    const metadata = history ? `{"session_transcript_history_state_v1":${written(history)}}` : "{}";
    const times = JSON.stringify({ created_at: TIME, updated_at: TIME }).slice(1, -1);
    return Buffer.from(
      `{"version":2,"id":"${this.id}","messages":[${messages.join()}],${times},"metadata":${metadata},` +
        `"usage":${JSON.stringify(USAGE)}}`,
    );
  }
}

/** Returns the digest of a list of messages (docs/sessions.md). */
const revisionOf = (messages: readonly string[]): string =>
  `sha256:${createHash("sha256").update(`[${messages.join()}]`).digest("hex")}`;

function written({ head, commits, bodies }: History): string {
  const revisions = bodies.map(({ revision, parent, messages }) => {
    const parentMember = parent === undefined ? "" : `"parent_revision":"${parent}",`;
    const createdAt = JSON.stringify(TIME);
    return `{"revision":"${revision}",${parentMember}"messages":[${messages.join()}],"created_at":${createdAt}}`;
  });
  const audits = commits.map((commit) => writeRewriteCommit(commit).toString());
  return `{"head":"${head}","commits":[${audits.join()}],"revisions":[${revisions.join()}]}`;
}
