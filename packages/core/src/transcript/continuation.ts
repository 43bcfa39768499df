import type { Transcript } from "./transcript.js";

/** Between the blocks of a system text, and what a block that a runtime added starts with. */
const CONTEXT_SEPARATOR = "\n\n---\n\n";
const CONTEXT_MARKER = "[Runtime System Context]";

/** Whether nothing but runtime context was appended to the leading system text, and messages at the end (section 8.2 c). */
export function isSystemContextAppend(incoming: Transcript, previous: Transcript): boolean {
  const text = incoming.leadingSystemText();
  const previousText = previous.leadingSystemText();
  if (text === undefined || !isContextAppend(previousText, text)) return false;
  const skipped = previousText === undefined ? 0 : 1;
  return incoming.equals(1, previous, skipped, previous.length - skipped);
}

function isContextAppend(previous: string | undefined, incoming: string): boolean {
  if (previous === undefined) return incoming.startsWith(CONTEXT_MARKER);
  return incoming === previous || incoming.startsWith(previous + CONTEXT_SEPARATOR + CONTEXT_MARKER);
}

/** Whether transient notices were taken out, and messages appended at the end (section 8.2 d). */
export function isNoticeCleanup(incoming: Transcript, previous: Transcript): boolean {
  const kept = previous.withoutTransientNotices();
  if (kept.length === previous.length || incoming.length < kept.length) return false;
  return kept.every((place, index) => incoming.equals(index, previous, place, 1));
}

/** Whether both start with a system message, which alone may differ, and messages were appended at the end (section 8.4). */
export function isSystemRefresh(incoming: Transcript, previous: Transcript): boolean {
  if (incoming.leadingSystemText() === undefined || previous.leadingSystemText() === undefined) return false;
  return incoming.equals(1, previous, 1, previous.length - 1);
}
