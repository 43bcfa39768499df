import type { DocumentPart } from "@bolthole/contract";
import { assembleYielding } from "../bytes.js";
import { type TranscriptVerdict, checkFully } from "../transcript/full-check.js";
import { checkIncrementally } from "../transcript/incremental/incremental-check.js";
import { ResumableSha256 } from "../transcript/incremental/resumable-sha256.js";
import type { SessionIndex } from "../transcript/incremental/session-index.js";
import { type SessionState, sessionText } from "./session-state.js";

export const textOf = (state: SessionState): Buffer => Buffer.from(sessionText(state));

/** Returns the parts of a document as a client sends them when it copies equal ranges of at least `least` bytes. */
export function partsOf(base: Buffer, next: Buffer, least: number): DocumentPart[] {
  const parts: DocumentPart[] = [];
  let inserted = 0;
  const insertTo = (end: number): void => {
    if (end > inserted) parts.push(next.subarray(inserted, end));
  };
  for (let at = 0; at < next.length;) {
    const { offset, length } = longestMatch(base, next, at);
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

/** Returns the longest range of the base that equals the bytes of `next` from `at` on; the last one of several. */
function longestMatch(base: Buffer, next: Buffer, at: number): { offset: number; length: number } {
  let best = { offset: 0, length: 0 };
  const start = next.subarray(at, at + 8);
  for (let offset = base.indexOf(start); offset >= 0 && start.length === 8; offset = base.indexOf(start, offset + 1)) {
    let length = 8;
    while (at + length < next.length && base[offset + length] === next[at + length]) length += 1;
    if (length >= best.length) best = { offset, length };
  }
  return best;
}

/** A document and its index. */
export interface IndexedDocument {
  readonly text: Buffer;
  readonly index: SessionIndex;
}

const copyOf = (bytes: Uint8Array): Buffer<ArrayBuffer> => Buffer.from(bytes);

/**
 * Runs both checks of one document, and expects that the incremental one accepts only what the full one accepts, and that
 * both build the same index.
 */
export async function compareChecks(
  before: IndexedDocument,
  document: readonly DocumentPart[],
  isGuarded: boolean,
): Promise<{ text: Buffer; full: TranscriptVerdict; incremental: TranscriptVerdict | undefined }> {
  const text = await assembleYielding(document, before.text);
  const guard = isGuarded ? { previous: copyOf(before.text), commit: undefined } : undefined;
  const sha256 = await ResumableSha256.load();
  const full = checkFully({ incoming: text, guard, buildsIndex: true }, { sha256 });
  const incremental = await checkIncrementally({
    document,
    index: before.index,
    guard: isGuarded ? {} : undefined,
    minElidedBytes: 1,
    readRanges: (ranges) =>
      Promise.resolve(ranges.map(({ offset, length }) => before.text.subarray(offset, offset + length))),
  });
  if (incremental) {
    expect(incremental.kind).toBe("accepted");
    expect(full).toMatchObject({ kind: "accepted", id: incremental.kind === "accepted" ? incremental.id : "" });
    if (full.kind === "accepted" && incremental.kind === "accepted") {
      expectSameIndex(incremental.index, full.index, sha256);
    }
  }
  return { text, full, incremental };
}

/** Expects that two indexes of one document agree. Each may contain digests and states that the other one lacks. */
function expectSameIndex(
  incremental: SessionIndex | undefined,
  full: SessionIndex | undefined,
  sha256: ResumableSha256,
): void {
  if (!incremental) return;
  if (!full) throw new Error("only the incremental check built an index");
  const facts = ({ transcript, history }: SessionIndex): unknown => [
    ...[transcript, ...(history?.bodies.map(({ messages }) => messages) ?? [])].map(({ at, list }) => ({
      at: list.length === 0 ? 0 : at,
      length: list.length,
      starts: [...list.starts],
      ends: [...list.ends],
      depth: list.depth,
      isCanonicalRawJson: list.isCanonicalRawJson,
      systemText: list.systemText,
      transientNotices: [...list.transientNotices],
    })),
    history?.head,
    history?.commits,
    history?.bodies.map(({ revision, parentRevision, createdAt }) => ({ revision, parentRevision, createdAt })),
  ];
  expect(facts(incremental)).toEqual(facts(full));
  const resumed = ({ transcript }: SessionIndex): string | undefined =>
    transcript.list.sha256State && sha256.resume(transcript.list.sha256State, [], "]").digest;
  expect(resumed(incremental) ?? resumed(full)).toBe(resumed(full) ?? resumed(incremental));
  for (const [range, digest] of incremental.transcript.list.digests) {
    expect(full.transcript.list.digests.get(range) ?? digest).toBe(digest);
  }
}

/** Returns a session with the index that a full check builds, or undefined if it has no index. */
export async function indexedSession(state: SessionState): Promise<IndexedDocument | undefined> {
  const text = textOf(state);
  const sha256 = await ResumableSha256.load();
  // The session is checked against itself, as a turn that adds nothing: then the guards compute all digests.
  const guard = { previous: copyOf(text), commit: undefined };
  const verdict = checkFully({ incoming: text, guard, buildsIndex: true }, { sha256 });
  if (verdict.kind !== "accepted") throw new Error(`expected a valid session to be accepted, found ${verdict.kind}`);
  return verdict.index && { text, index: verdict.index };
}
