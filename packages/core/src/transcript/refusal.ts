/** Why a guard refuses a document; the texts are the reference's (section 8). */
export interface Refusal {
  readonly variant:
    | "MonotonicityViolation"
    | "TranscriptContinuityViolation"
    | "TranscriptRevisionConflict"
    | "InvalidTranscriptRewrite";
  readonly text: string;
  /** What the text names, as far as it helps a caller to go on. */
  readonly expected?: string;
  readonly actual?: string;
}

/** Carries a refusal out of a guard. */
export class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.text);
  }
}

export const invalidRewrite = (id: string, reason: string): Refused =>
  new Refused({ variant: "InvalidTranscriptRewrite", text: `session ${id} rewrite rejected: ${reason}` });

export const shrunk = (id: string, previousLength: number, newLength: number): Refused =>
  new Refused({
    variant: "MonotonicityViolation",
    text:
      `session ${id} save rejected: new message count ${newLength} is shorter than previously persisted ` +
      `${previousLength} without transcript-continuity proof`,
    expected: `at least ${previousLength} messages`,
    actual: `${newLength} messages`,
  });

export const discontinuous = (id: string, previousRevision: string, incomingRevision: string): Refused =>
  new Refused({
    variant: "TranscriptContinuityViolation",
    text:
      `session ${id} save rejected: incoming transcript is not a continuation of persisted revision ` +
      previousRevision,
    expected: previousRevision,
    actual: incomingRevision,
  });

export const revisionConflict = (id: string, expected: string, actual: string): Refused =>
  new Refused({
    variant: "TranscriptRevisionConflict",
    text:
      `session ${id} rewrite rejected: previous transcript revision ${actual} did not match commit parent ` + expected,
    expected,
    actual,
  });
