import { JsonError, readSessionId } from "@bolthole/json";
import type { Trace, TraceStep } from "./trace.js";
import { bytesOf, has } from "./trace-args.js";

const DOCUMENT_ARGUMENT: Readonly<Record<string, string>> = {
  commit_session_snapshot: "snapshot",
  atomic_apply: "snapshot",
  replace_session_snapshot_if_current: "replacement",
};

/**
 * Whether a transcript rule decides a trace: it rewrites a transcript, or a document is refused that is JSON with an id.
 * A store without these rules accepts such a document, so the rest of the trace says nothing about it.
 */
export const isTranscriptDecided = ({ steps }: Trace): boolean => steps.some(decides);

function decides({ op, args, sqlite: { err } }: TraceStep): boolean {
  if (op === "commit_session_transcript_rewrite_snapshot") return true;
  const argument = DOCUMENT_ARGUMENT[op];
  if (argument === undefined || !has(args, argument) || err?.variant !== "WriteFailed") return false;
  return !err.text.includes("UNIQUE constraint") && hasId(bytesOf(args, argument));
}

function hasId(document: Uint8Array): boolean {
  try {
    readSessionId(document);
    return true;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}
