import { type Hash, createHash } from "node:crypto";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { writeRewriteCommit } from "@bolthole/json";
import type { Random } from "@bolthole/core/testing";
import { type Message, summaryMessage, systemMessage, turnMessages } from "./message.js";
import { sortedJson } from "./sorted-json.js";

const SECONDS = 1779982287;
const SYSTEM_BYTES = 2000;
const SUMMARY_BYTES = 500;
const COMMA = Buffer.from(",");

/**
 * A session as the reference's runtime writes it, growing by turns and rewrites (sections 7.1, 7.2 and 7.7): a rewrite
 * keeps a whole copy of the transcript before and after it in `metadata`, and from then on so does each boundary.
 */
export class Conversation {
  private messages: Message[];
  private readonly bodies: Buffer[] = [];
  private readonly commits: TranscriptRewriteCommit[] = [];
  private head: string | undefined;
  private turns = 0;
  private digesting: Hash | undefined;
  /** Of every message that there ever was. */
  distinctBytes: number;

  constructor(
    readonly id: string,
    private readonly random: Random,
  ) {
    const first = systemMessage(random, SYSTEM_BYTES);
    this.messages = [first];
    this.distinctBytes = first.typed.length;
  }

  get length(): number {
    return this.messages.length;
  }

  /** Adds turns of so many bytes each until the messages have so many bytes together. */
  growTo(bytes: number, turnBytes: number): this {
    let length = this.messages.reduce((sum, { typed }) => sum + typed.length + 1, 0);
    while (length < bytes) {
      const added = this.pushTurn(Math.min(turnBytes, Math.max(bytes - length, 1)));
      length += added.reduce((sum, { typed }) => sum + typed.length + 1, 0);
    }
    return this;
  }

  /** One boundary: the messages of a turn, and one body more when there is a history. */
  addTurn(bytes: number): void {
    this.pushTurn(bytes);
    if (this.head !== undefined) this.retain(this.head);
  }

  /** Puts a short summary in the place of the messages in `[start, end)`. */
  rewrite(start: number, end: number): TranscriptRewriteCommit {
    const before = this.messages;
    const parentRevision = this.digest();
    if (this.head === undefined) this.retain(undefined);
    const summary = summaryMessage(this.random, this.turns, SUMMARY_BYTES);
    this.distinctBytes += summary.typed.length;
    this.messages = [...before.slice(0, start), summary, ...before.slice(end)];
    this.digesting = undefined;
    this.retain(parentRevision);
    const commit: TranscriptRewriteCommit = {
      parentRevision,
      revision: this.digest(),
      selection: { kind: "message_range", start: BigInt(start), end: BigInt(end) },
      originalSpanDigest: digestOf(before.slice(start, end)),
      replacementDigest: digestOf([summary]),
      messagesBefore: BigInt(before.length),
      messagesAfter: BigInt(this.messages.length),
      reason: { kind: "compaction" },
      committedAt: { seconds: BigInt(SECONDS + this.turns), nanos: 500 },
    };
    this.commits.push(commit);
    return commit;
  }

  /** Of the messages, as the reference counts it (section 7.3). */
  digest(): string {
    this.digesting ??= digesting(this.messages);
    return finished(this.digesting);
  }

  document(): Buffer {
    const time = (seconds: number): object => ({ secs_since_epoch: seconds, nanos_since_epoch: 123456789 });
    const usage = {
      input_tokens: this.turns * 1713,
      output_tokens: this.turns * 211,
      cache_creation_tokens: null,
      cache_read_tokens: null,
    };
    return Buffer.concat([
      Buffer.from(`{"version":2,"id":"${this.id}","messages":[`),
      ...separated(this.messages.map(({ typed }) => typed)),
      Buffer.from(
        `],"created_at":${JSON.stringify(time(SECONDS))},` +
          `"updated_at":${JSON.stringify(time(SECONDS + this.turns))},"metadata":{`,
      ),
      ...this.history(),
      Buffer.from(`},"usage":${JSON.stringify(usage)}}`),
    ]);
  }

  private history(): Buffer[] {
    if (this.head === undefined) return [];
    const commits = this.commits.map((commit) => sortedJson(JSON.parse(writeRewriteCommit(commit).toString())));
    return [
      Buffer.from(
        `"session_transcript_history_state_v1":{"commits":[${commits.join()}],"head":"${this.head}","revisions":[`,
      ),
      ...separated(this.bodies),
      Buffer.from("]}"),
    ];
  }

  private pushTurn(bytes: number): readonly Message[] {
    this.turns += 1;
    const added = turnMessages(this.random, this.turns, bytes);
    for (const one of added) {
      this.digesting?.update(this.messages.length === 0 ? "" : ",").update(one.typed);
      this.messages.push(one);
      this.distinctBytes += one.typed.length;
    }
    return added;
  }

  /** The transcript of now, as a body of the history and its head. */
  private retain(parent: string | undefined): void {
    this.head = this.digest();
    const created = sortedJson({ secs_since_epoch: SECONDS + this.turns, nanos_since_epoch: 7 });
    const parentMember = parent === undefined ? "" : `"parent_revision":"${parent}",`;
    this.bodies.push(
      Buffer.concat([
        Buffer.from(`{"created_at":${created},"messages":[`),
        ...separated(this.messages.map(({ sorted }) => sorted)),
        Buffer.from(`],${parentMember}"revision":"${this.head}"}`),
      ]),
    );
  }
}

function separated(parts: readonly Buffer[]): Buffer[] {
  const all: Buffer[] = [];
  for (const part of parts) {
    if (all.length > 0) all.push(COMMA);
    all.push(part);
  }
  return all;
}

function digesting(messages: readonly Message[]): Hash {
  const hash = createHash("sha256").update("[");
  for (const part of separated(messages.map(({ typed }) => typed))) hash.update(part);
  return hash;
}

const finished = (hash: Hash): string => `sha256:${hash.copy().update("]").digest("hex")}`;

const digestOf = (messages: readonly Message[]): string => finished(digesting(messages));
