/** The reason why a guard refuses a document. The texts are the reference's (contract 10.1). */
export interface Refusal {
  readonly variant:
    | "MonotonicityViolation"
    | "TranscriptContinuityViolation"
    | "TranscriptRevisionConflict"
    | "InvalidTranscriptRewrite";
  readonly text: string;
  /** The facts of the text that a caller can use: the value that the guard expected, and the value that it found. */
  readonly expected?: string;
  readonly actual?: string;
}

/** Thrown by a guard that refuses a document. */
export class GuardRefusalError extends Error {
  override readonly name = "GuardRefusalError";

  constructor(readonly refusal: Refusal) {
    super(refusal.text);
  }
}

// `id` is always the incoming session's id.

export const invalidRewrite = (id: string, reason: string): GuardRefusalError =>
  new GuardRefusalError({
    variant: "InvalidTranscriptRewrite",
    text: `session ${id} rewrite rejected: ${reason}`,
  });

export const malformedIncomingHistory = (id: string, reason: string): GuardRefusalError =>
  invalidRewrite(id, `incoming transcript history state is malformed: ${reason}`);

export const shrunkTranscript = (id: string, previousLength: number, newLength: number): GuardRefusalError =>
  new GuardRefusalError({
    variant: "MonotonicityViolation",
    text:
      `session ${id} save rejected: new message count ${newLength} is shorter than previously persisted ` +
      `${previousLength} without transcript-continuity proof`,
    expected: `at least ${previousLength} messages`,
    actual: `${newLength} messages`,
  });

export const brokenContinuity = (id: string, previousRevision: string, incomingRevision: string): GuardRefusalError =>
  new GuardRefusalError({
    variant: "TranscriptContinuityViolation",
    text:
      `session ${id} save rejected: incoming transcript is not a continuation of persisted revision ` +
      previousRevision,
    expected: previousRevision,
    actual: incomingRevision,
  });

export const revisionConflict = (id: string, expected: string, actual: string): GuardRefusalError =>
  new GuardRefusalError({
    variant: "TranscriptRevisionConflict",
    text:
      `session ${id} rewrite rejected: previous transcript revision ${actual} did not match commit parent ` + expected,
    expected,
    actual,
  });
