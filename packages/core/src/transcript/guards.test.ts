import { JsonError, readRewriteCommit } from "@bolthole/json";
import { appendGuard } from "./append-guard.js";
import { boundaryGuard } from "./boundary-guard.js";
import { EndlessWalk } from "./malformed-history.js";
import { Refused } from "./refusal.js";
import { rewriteGuard } from "./rewrite-guard.js";
import { EqualSpans } from "./equal-spans.js";
import { SessionDocument } from "./session-document.js";
import { wholeText } from "./session-text.js";
import { readVectors } from "../testing/vectors.js";
import { WorkMeter, workLimit } from "./work-meter.js";

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
  const tools = { meter, equalSpans: new EqualSpans() };
  const read = (text: string): SessionDocument => SessionDocument.read(wholeText(Buffer.from(text)), tools);
  const before = previous === null ? undefined : read(previous);
  if (guard === "append") appendGuard(read(incoming), before);
  else if (guard === "boundary") boundaryGuard(read(incoming), before);
  else rewriteGuard(read(incoming), before, readRewriteCommit(commit ?? ""));
}

/** The words of the JSON reader, at the end of some texts, are our own (section 14.18). */
const READER_WORDS =
  /(malformed: (?:transcript history state is malformed: )?)(?:invalid (?:type|value|length)|missing field|unknown (?:field|variant)|duplicate field).*$/s;

function problemOf(vector: GuardCase): string | undefined {
  const { ok, hangs, err } = vector.expect;
  try {
    run(vector);
  } catch (error) {
    if (hangs) return error instanceof EndlessWalk ? undefined : `threw ${String(error)}`;
    if (error instanceof JsonError) return vector.quirk ? undefined : `unreadable: ${error.message}`;
    if (!(error instanceof Refused)) return `threw ${String(error)}`;
    const { variant, text, expected, actual } = error.refusal;
    if (ok) return vector.quirk ? undefined : `refused: ${text}`;
    // Lists in the place of objects may be refused (section 14.19), whatever else is wrong with the document.
    if (err && vector.name.includes("-positional-")) return undefined;
    if (!err || variant !== err.variant) return `${variant} instead of ${String(err?.variant)}: ${text}`;
    if (vector.clock) return undefined;
    const [, known] = READER_WORDS.exec(err.text) ?? [];
    const isEqual =
      known === undefined
        ? text === err.text
        : text.startsWith(err.text.slice(0, err.text.indexOf(known) + known.length));
    if (!isEqual) return `says ${text}\n  instead of ${err.text}`;
    const facts = [err.previous_revision ?? err.expected, err.incoming_revision ?? err.actual];
    if (facts[0] !== undefined && (facts[0] !== expected || facts[1] !== actual))
      return `names ${expected} and ${actual}`;
    return undefined;
  }
  return ok || (vector.clock && err) ? undefined : `accepted instead of ${err?.text ?? "never ending"}`;
}

const vectors = readVectors("guards.jsonl") as readonly GuardCase[] | undefined;

(vectors ? test : test.skip)("the guards give the reference's verdicts and texts (guards.jsonl)", () => {
  const problems = (vectors ?? []).flatMap((vector) => {
    const problem = problemOf(vector);
    return problem === undefined ? [] : [`${vector.guard} ${vector.name}: ${problem}`];
  });
  expect(problems).toEqual([]);
});
