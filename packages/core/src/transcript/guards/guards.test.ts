import { JsonError, readRewriteCommit } from "@bolthole/json";
import { readVectors } from "../../testing/vectors.js";
import { HistoryCycleError } from "../history.js";
import { type SessionDocument, parseSession } from "../session-document.js";
import { ParsedTranscript } from "../transcript.js";
import { WorkMeter, workLimit } from "../work-meter.js";
import { appendGuard } from "./append-guard.js";
import { boundaryGuard } from "./boundary-guard.js";
import { GuardRefusalError } from "./refusal.js";
import { rewriteGuard } from "./rewrite-guard.js";

interface GuardCase {
  readonly name: string;
  readonly guard: "append" | "boundary" | "rewrite";
  readonly incoming: string;
  readonly previous: string | null;
  readonly commit: string | null;
  readonly clock?: true;
  readonly quirk?: true;
  readonly expect: {
    readonly ok?: true;
    readonly hangs?: true;
    readonly err?: { readonly variant: string; readonly text: string } & Partial<
      Record<"previous_revision" | "incoming_revision" | "expected" | "actual", string>
    >;
  };
}

function run({ guard, incoming, previous, commit }: GuardCase): void {
  const meter = new WorkMeter(workLimit(incoming.length + (previous?.length ?? 0)));
  const read = (text: string): SessionDocument =>
    parseSession(Buffer.from(text), undefined, {
      meter,
      transcriptOf: (messages) => new ParsedTranscript(messages, { meter }),
    });
  const before = previous === null ? undefined : read(previous);
  if (guard === "append") appendGuard(read(incoming), before);
  else if (guard === "boundary") boundaryGuard(read(incoming), before);
  else rewriteGuard(read(incoming), before, readRewriteCommit(commit ?? ""));
}

/** Some texts end with the words of the reference's JSON reader. Ours differ (contract 11.3). */
const READER_TEXT =
  /(malformed: (?:transcript history state is malformed: )?)(?:invalid (?:type|value|length)|missing field|unknown (?:field|variant)|duplicate field).*$/s;

/** Returns the difference between a guard's verdict and the reference's, if there is one. */
function problemOf(vector: GuardCase): string | undefined {
  const { ok, hangs, err } = vector.expect;
  try {
    run(vector);
  } catch (error) {
    if (hangs) return error instanceof HistoryCycleError ? undefined : `threw ${String(error)}`;
    if (error instanceof JsonError) return vector.quirk ? undefined : `unreadable: ${error.message}`;
    if (!(error instanceof GuardRefusalError)) return `threw ${String(error)}`;
    const { variant, text, expected, actual } = error.refusal;
    if (ok) return vector.quirk ? undefined : `refused: ${text}`;
    // A list in the place of an object may be refused (contract 9.10), even if the reference names another fault.
    if (err && vector.name.includes("-positional-")) return undefined;
    if (!err || variant !== err.variant) return `expected ${String(err?.variant)}, found ${variant}: ${text}`;
    if (vector.clock) return undefined;
    const [, known] = READER_TEXT.exec(err.text) ?? [];
    const isEqual =
      known === undefined
        ? text === err.text
        : text.startsWith(err.text.slice(0, err.text.indexOf(known) + known.length));
    if (!isEqual) return `expected the text ${err.text}\n  found ${text}`;
    const facts = [err.previous_revision ?? err.expected, err.incoming_revision ?? err.actual];
    if (facts[0] !== undefined && (facts[0] !== expected || facts[1] !== actual)) {
      return `expected ${facts.join(" and ")}, found ${expected} and ${actual}`;
    }
    return undefined;
  }
  return ok || (vector.clock && err) ? undefined : `expected ${err?.text ?? "a malformed history"}, found acceptance`;
}

const vectors = readVectors("guards.jsonl") as readonly GuardCase[] | undefined;

(vectors ? test : test.skip)("the guards return the reference's verdicts and texts (guards.jsonl)", () => {
  const problems = (vectors ?? []).flatMap((vector) => {
    const problem = problemOf(vector);
    return problem === undefined ? [] : [`${vector.guard} ${vector.name}: ${problem}`];
  });
  expect(problems).toEqual([]);
});
