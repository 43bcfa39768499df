import { type Hash, createHash } from "node:crypto";
import { type MessageList, readMessage } from "@bolthole/contract/json";
import type { WorkMeter } from "./work-meter.js";

/** What looking at one message costs, in bytes. */
const MESSAGE_WORK = 64;

const SYSTEM = Buffer.from('{"role":"system",');
const PENDING_NOTICE = Buffer.from('{"role":"system_notice","kind":"mcp_pending",');

/** The digest of a message list (section 7.3): over the JSON list of the messages in their written form. */
export function transcriptMessagesDigest(messages: MessageList, from = 0, to: number = messages.length): string {
  const hash = createHash("sha256").update("[");
  addMessages(hash, messages, from, to, true);
  return digestText(hash);
}

/** Messages of one document, with what was found out about them kept for the next question. */
export class Transcript {
  /** Of the whole; of spans, under their bounds. Most transcripts are only asked for the first. */
  private whole: string | undefined;
  private spans: Map<string, string> | undefined;
  /** Has taken the messages from `from` to `to`; a longer span from the same place goes on with it. */
  private running: { readonly from: number; readonly to: number; readonly hash: Hash } | undefined;
  private system: { readonly text: string | undefined } | undefined;

  constructor(
    private readonly messages: MessageList,
    private readonly meter: WorkMeter,
  ) {}

  get length(): number {
    return this.messages.length;
  }

  digest(from = 0, to = this.length): string {
    if (from === 0 && to === this.length) return (this.whole ??= this.digestOf(from, to));
    this.spans ??= new Map();
    const key = `${from} ${to}`;
    const digest = this.spans.get(key) ?? this.digestOf(from, to);
    this.spans.set(key, digest);
    return digest;
  }

  /** Whether `count` messages from `from` on are those of the other transcript from `otherFrom` on. */
  equals(from: number, other: Transcript, otherFrom: number, count: number): boolean {
    if (from + count > this.length || otherFrom + count > other.length) return false;
    for (let index = 0; index < count; index++) {
      const message = this.messages.at(from + index);
      const otherMessage = other.messages.at(otherFrom + index);
      this.meter.charge(MESSAGE_WORK + (message.length >> 3));
      if (!message.equals(otherMessage)) return false;
    }
    return true;
  }

  startsWith(prefix: Transcript): boolean {
    return this.equals(0, prefix, 0, prefix.length);
  }

  /** The same, for a prefix whose digest is said to be `digest`: where it is not, what counts is the name. */
  hasPrefix(prefix: Transcript, digest: string): boolean {
    if (prefix.length > this.length) return false;
    return prefix.digest() === digest ? this.startsWith(prefix) : this.digest(0, prefix.length) === digest;
  }

  /** The text of the system message that the transcript starts with. */
  leadingSystemText(): string | undefined {
    this.system ??= { text: this.readSystemText() };
    return this.system.text;
  }

  /** The messages that are no notices of servers still to come, which a runtime takes out again (section 8.2 d). */
  withoutTransientNotices(): number[] {
    const kept: number[] = [];
    for (let index = 0; index < this.length; index++) if (!this.isTransientNotice(index)) kept.push(index);
    return kept;
  }

  private digestOf(from: number, to: number): string {
    const { running } = this;
    const canGoOn = running?.from === from && running.to <= to;
    const hash = canGoOn ? running.hash : createHash("sha256").update("[");
    const start = canGoOn ? running.to : from;
    this.meter.charge(MESSAGE_WORK + addMessages(hash, this.messages, start, to, start === from));
    if (to === this.length) {
      this.running = undefined;
      return digestText(hash);
    }
    this.running = { from, to, hash };
    return digestText(hash.copy());
  }

  private isTransientNotice(index: number): boolean {
    const message = this.messages.at(index);
    this.meter.charge(MESSAGE_WORK);
    if (!startsWith(message, PENDING_NOTICE)) return false;
    const notice = readMessage(message) as { readonly blocks?: readonly { kind: string; persisted?: boolean }[] };
    return (notice.blocks ?? []).every(({ kind, persisted }) => kind === "mcp" && persisted === false);
  }

  private readSystemText(): string | undefined {
    if (this.length === 0 || !startsWith(this.messages.at(0), SYSTEM)) return undefined;
    const { content } = readMessage(this.messages.at(0)) as { readonly content?: { toString(): string } };
    return content?.toString();
  }
}

function addMessages(hash: Hash, messages: MessageList, from: number, to: number, isFirst: boolean): number {
  let bytes = 0;
  let needsComma = !isFirst;
  for (const slice of messages.slices(from, to)) {
    if (needsComma) hash.update(",");
    needsComma = true;
    hash.update(slice);
    bytes += slice.length;
  }
  return bytes;
}

const digestText = (hash: Hash): string => `sha256:${hash.update("]").digest("hex")}`;

const startsWith = (message: Buffer, start: Buffer): boolean =>
  message.length >= start.length && message.compare(start, 0, start.length, 0, start.length) === 0;
