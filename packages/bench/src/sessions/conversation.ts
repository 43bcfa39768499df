import { type Hash, createHash } from "node:crypto";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import type { Random } from "@bolthole/core/testing";
import { writeRewriteCommit } from "@bolthole/json";

const LONGEST_WORD = 12;

/** Returns text of that many bytes that compresses little and repeats little: words and lines of random letters. */
export function denseText(random: Random, length: number): string {
  const bytes = Buffer.allocUnsafe(Math.ceil(length / 4) * 3 + 4);
  for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.writeUInt32LE(random.below(2 ** 32), at);
  const text = bytes.toString("base64");
  const words: string[] = [];
  for (let at = 0; at < length;) {
    const end = Math.min(length, at + 2 + random.below(LONGEST_WORD));
    // The separator replaces the last letter of the word.
    words.push(text.slice(at, end - 1), random.below(10) === 0 ? "\n" : " ");
    at = end;
  }
  return words.join("");
}

/** Returns JSON with the members of every object sorted by name, as the reference stores metadata (contract 9.8). */
const sortedJson = (value: unknown): string =>
  JSON.stringify(value, (_, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );

const FIRST_SECOND = 1779982287;

/** A message in its two JSON forms: in a session's messages, and in the history, where members are sorted. */
interface Message {
  readonly typed: Buffer;
  readonly sorted: Buffer;
}

const message = (value: object): Message => ({
  typed: Buffer.from(JSON.stringify(value)),
  sorted: Buffer.from(sortedJson(value)),
});

const timestamp = (turn: number): string =>
  new Date((FIRST_SECOND + turn * 60) * 1000).toISOString().replace(".000Z", "Z");

const systemMessage = (random: Random, bytes: number): Message =>
  message({ role: "system", content: denseText(random, bytes), created_at: timestamp(0) });

/** Makes the message that replaces the messages of a rewrite. */
const summaryMessage = (random: Random, turn: number, bytes: number): Message =>
  message({ role: "user", content: denseText(random, bytes), created_at: timestamp(turn) });

/** Makes a question, a file that is read for it, and the reply, with about that many bytes in total. */
function turnMessages(random: Random, turn: number, bytes: number): readonly Message[] {
  const created_at = timestamp(turn);
  const id = `toolu_${String(turn)}`;
  const text = Math.max(bytes - 700, 100);
  return [
    { role: "user", content: denseText(random, text * 0.1), created_at },
    {
      role: "block_assistant",
      blocks: [
        { block_type: "text", data: { text: denseText(random, text * 0.1) } },
        {
          block_type: "tool_use",
          data: { id, name: "read_file", args: { limit: 2000, offset: random.below(1000), path: "/src/main.ts" } },
        },
      ],
      stop_reason: "tool_use",
      created_at,
    },
    {
      role: "tool_results",
      results: [{ tool_use_id: id, content: denseText(random, text * 0.5), is_error: false }],
      created_at,
    },
    {
      role: "block_assistant",
      blocks: [{ block_type: "text", data: { text: denseText(random, text * 0.3) } }],
      stop_reason: "end_turn",
      created_at,
    },
  ].map(message);
}

const SECONDS = 1779982287;
const SYSTEM_BYTES = 2000;
const SUMMARY_BYTES = 500;
const COMMA = Buffer.from(",");

/**
 * A session as the reference's runtime writes it, which grows by turns and rewrites (contract 7.1, 7.3, 8.1). A rewrite
 * adds a copy of the transcript before and after it to `metadata`, and each later boundary adds another copy.
 */
export class Conversation {
  private messages: Message[];
  private readonly bodies: Buffer[] = [];
  private readonly commits: TranscriptRewriteCommit[] = [];
  private head: string | undefined;
  private turns = 0;
  private digesting: Hash | undefined;
  /** The sum of the sizes of all messages so far, also of replaced ones. */
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

  /** Adds turns of `turnBytes` until the messages have `bytes` in total. */
  growTo(bytes: number, turnBytes: number): this {
    let length = this.messages.reduce((sum, { typed }) => sum + typed.length + 1, 0);
    while (length < bytes) {
      const added = this.pushTurn(Math.min(turnBytes, Math.max(bytes - length, 1)));
      length += added.reduce((sum, { typed }) => sum + typed.length + 1, 0);
    }
    return this;
  }

  /** Adds a boundary: the messages of a turn, and a copy of the transcript when there is a history. */
  addTurn(bytes: number): void {
    this.pushTurn(bytes);
    if (this.head !== undefined) this.retain(this.head);
  }

  /** Replaces the messages from `start` up to `end` (exclusive) by a short summary. */
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

  /** Returns the digest of the messages (contract 7.7). */
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

  /** Adds a copy of the present transcript to the history and makes it the head. */
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
