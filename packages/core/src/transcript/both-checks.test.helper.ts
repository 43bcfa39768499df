import type { DocumentPart } from "@bolthole/contract";
import { assembleYielding } from "../bytes.js";
import { type TranscriptVerdict, checkTranscript } from "./check.js";
import { checkIncrementally } from "./incremental-check.js";
import type { SessionIndex } from "./remembered-session.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { type SessionState, sessionText } from "./session-state.test.helper.js";

export const textOf = (state: SessionState): Buffer => Buffer.from(sessionText(state));

/** The parts of a document, as a client that looks for long equal stretches would send them. */
export function partsOf(base: Buffer, next: Buffer, least: number): DocumentPart[] {
  const parts: DocumentPart[] = [];
  let inserted = 0;
  const insertTo = (end: number): void => {
    if (end > inserted) parts.push(next.subarray(inserted, end));
  };
  for (let at = 0; at < next.length;) {
    const { offset, length } = longest(base, next, at);
    if (length < least) {
      at += 1;
      continue;
    }
    insertTo(at);
    parts.push({ offset, length });
    at += length;
    inserted = at;
  }
  insertTo(next.length);
  return parts;
}

/** The longest stretch of the base that the new document has at this place; of equal ones the last. */
function longest(base: Buffer, next: Buffer, at: number): { offset: number; length: number } {
  let best = { offset: 0, length: 0 };
  const start = next.subarray(at, at + 8);
  for (let offset = base.indexOf(start); offset >= 0 && start.length === 8; offset = base.indexOf(start, offset + 1)) {
    let length = 8;
    while (at + length < next.length && base[offset + length] === next[at + length]) length += 1;
    if (length >= best.length) best = { offset, length };
  }
  return best;
}

/** A document, and what is remembered of it. */
export interface Kept {
  readonly text: Buffer;
  readonly remembered: SessionIndex;
}

const copyOf = (bytes: Uint8Array): Buffer<ArrayBuffer> => Buffer.from(bytes);

/** Both checks of one document: the whole one has the word, and the incremental one never contradicts it. */
export async function checkBoth(
  before: Kept,
  document: readonly DocumentPart[],
  isGuarded: boolean,
): Promise<{ text: Buffer; whole: TranscriptVerdict; parts: TranscriptVerdict | undefined }> {
  const text = await assembleYielding(document, before.text);
  const guard = isGuarded ? { previous: copyOf(before.text), commit: undefined } : undefined;
  const sha256 = await ResumableSha256.load();
  const whole = checkTranscript({ incoming: text, guard, remembers: true }, { sha256 });
  const parts = await checkIncrementally({
    document,
    before: before.remembered,
    guard: isGuarded ? {} : undefined,
    leastLeftOut: 1,
    read: (stretches) =>
      Promise.resolve(stretches.map(({ offset, length }) => before.text.subarray(offset, offset + length))),
  });
  if (parts) {
    expect(parts.kind).toBe("accepted");
    expect(whole).toMatchObject({ kind: "accepted", id: parts.kind === "accepted" ? parts.id : "" });
    if (whole.kind === "accepted" && parts.kind === "accepted") expectSame(parts.remembered, whole.remembered, sha256);
  }
  return { text, whole, parts };
}

/** What both remember of one document is the same; the one may know more than the other. */
function expectSame(parts: SessionIndex | undefined, whole: SessionIndex | undefined, sha256: ResumableSha256): void {
  if (!parts) return;
  if (!whole) throw new Error("only the check in parts remembers the document");
  const facts = ({ transcript, history }: SessionIndex): unknown => [
    ...[transcript, ...(history?.bodies.map(({ messages }) => messages) ?? [])].map(({ at, messages }) => ({
      at: messages.length === 0 ? 0 : at,
      length: messages.length,
      starts: [...messages.starts],
      ends: [...messages.ends],
      depth: messages.depth,
      isNormalised: messages.isNormalised,
      systemText: messages.systemText,
      transientNotices: [...messages.transientNotices],
    })),
    history?.head,
    history?.commits,
    history?.bodies.map(({ revision, parentRevision, createdAt }) => ({ revision, parentRevision, createdAt })),
  ];
  expect(facts(parts)).toEqual(facts(whole));
  const ended = ({ transcript }: SessionIndex): string | undefined =>
    transcript.messages.sha256State && sha256.goOn(transcript.messages.sha256State, [], "]").digest;
  expect(ended(parts) ?? ended(whole)).toBe(ended(whole) ?? ended(parts));
  for (const [span, digest] of parts.transcript.messages.digests) {
    expect(whole.transcript.messages.digests.get(span) ?? digest).toBe(digest);
  }
}

/** A session as it is remembered after its first check. */
export async function started(state: SessionState): Promise<Kept | undefined> {
  const text = textOf(state);
  const sha256 = await ResumableSha256.load();
  // Against itself, as a turn that adds nothing: the guards then ask for all digests.
  const guard = { previous: copyOf(text), commit: undefined };
  const finding = checkTranscript({ incoming: text, guard, remembers: true }, { sha256 });
  if (finding.kind !== "accepted") throw new Error(`a sound session was ${finding.kind}`);
  return finding.remembered && { text, remembered: finding.remembered };
}
