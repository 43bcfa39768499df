import fc from "fast-check";
import type { DocumentPart } from "@bolthole/contract";
import { assembleYielding } from "../bytes.js";
import { checkTranscript } from "./check.js";
import { EqualSpans } from "./equal-spans.js";
import { MESSAGE } from "./random-message.test.helper.js";
import { CacheMiss, placedLists } from "./remembered-session.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { SessionDocument } from "./session-document.js";
import { appended, rewritten, sessionText, startedSession } from "./session-state.test.helper.js";
import { type SessionText, TextPlan, wholeText } from "./session-text.js";
import { written } from "./specimen.test.helper.js";
import type { CheckTools, Transcript } from "./transcript.js";
import { WorkMeter } from "./work-meter.js";

const SOME = fc.array(MESSAGE, { minLength: 1, maxLength: 4 });

/** A stretch of one of the stored document's lists, or messages of one's own. */
const RUN = fc.record({ list: fc.nat(20), from: fc.nat(20), count: fc.integer({ min: 1, max: 6 }), own: fc.boolean() });

const QUESTION = fc.record({ from: fc.nat(12), to: fc.nat(12), other: fc.nat(20), otherFrom: fc.nat(8) });

/** The same question to both: what is remembered may give no answer, but never another one. */
function isAnswered(remembered: () => unknown, read: () => unknown): boolean {
  let answer: unknown;
  try {
    answer = remembered();
  } catch (error) {
    if (error instanceof CacheMiss) return false;
    throw error;
  }
  expect(answer).toEqual(read());
  return true;
}

const transcriptsOf = (document: SessionDocument): Transcript[] => [
  document.transcript,
  ...(document.history()?.bodies ?? []).map(({ transcript }) => transcript),
];

const open = (source: SessionText, more: Partial<CheckTools> = {}): SessionDocument =>
  SessionDocument.read(source, { meter: new WorkMeter(Infinity), equalSpans: new EqualSpans(), ...more });

test("a transcript that answers from memory gives the answers of one that was read", async () => {
  const sha256 = await ResumableSha256.load();
  let answers = 0;
  await fc.assert(
    fc.asyncProperty(
      SOME,
      SOME,
      SOME,
      fc.array(RUN, { minLength: 1, maxLength: 5 }),
      fc.array(QUESTION, { minLength: 6, maxLength: 12 }),
      async (first, second, third, runs, questions) => {
        const state = appended(appended(rewritten(startedSession([...first, ...second]), 1, 2, third), second), first);
        const base = Buffer.from(sessionText(state));
        const guard = { previous: Buffer.from(base), commit: undefined };
        const finding = checkTranscript({ incoming: base, guard, remembers: true }, { sha256 });
        if (finding.kind !== "accepted" || !finding.remembered) throw new Error("the session is not remembered");
        const { remembered } = finding;
        const lists = placedLists(remembered);

        const messages = runs.flatMap(({ list, from, count, own }, index): DocumentPart[] => {
          const { at, messages: known } = lists[list % lists.length] ?? {};
          const comma = index === 0 ? [] : [Buffer.from(",")];
          if (own || at === undefined || !known)
            return [...comma, Buffer.from(first.map((one) => written(one)).join(","))];
          const start = from % known.length;
          const end = Math.min(known.length, start + count) - 1;
          const offset = at + (known.starts[start] ?? 0);
          return [...comma, { offset, length: at + (known.ends[end] ?? 0) - offset }];
        });
        const [head = "", tail = ""] = sessionText(startedSession([])).split('"messages":[');
        const document = [Buffer.from(`${head}"messages":[`), ...messages, Buffer.from(tail)];

        const plan = new TextPlan(document, lists, 1);
        const text = plan.text(plan.stretches().map(({ offset, length }) => base.subarray(offset, offset + length)));
        const tools = {
          meter: new WorkMeter(Infinity),
          equalSpans: new EqualSpans(remembered.equalSpans),
          remembered: lists.map((list) => list.messages),
          sha256,
        };
        const ours = [open(text, tools).transcript, ...transcriptsOf(SessionDocument.remembered(remembered, tools))];
        const read = [
          open(wholeText(await assembleYielding(document, base))).transcript,
          ...transcriptsOf(open(wholeText(base))),
        ];
        const [mine] = ours;
        const [whole] = read;
        if (!mine || !whole) throw new Error("there is always one");
        expect(mine.length).toBe(whole.length);

        const asked = questions.flatMap(({ from, to, other, otherFrom }) => {
          const start = Math.min(from, to, whole.length);
          const end = Math.min(Math.max(from, to), whole.length);
          const index = other % ours.length;
          const one = ours[index] ?? mine;
          const another = read[index] ?? whole;
          return [
            isAnswered(
              () => mine.digest(start, end),
              () => whole.digest(start, end),
            ),
            isAnswered(
              () => mine.equals(start, one, otherFrom, end - start),
              () => whole.equals(start, another, otherFrom, end - start),
            ),
            isAnswered(
              () => mine.startsWith(one),
              () => whole.startsWith(another),
            ),
          ];
        });
        asked.push(
          isAnswered(
            () => mine.digest(),
            () => whole.digest(),
          ),
          isAnswered(
            () => mine.leadingSystemText(),
            () => whole.leadingSystemText(),
          ),
          isAnswered(
            () => mine.withoutTransientNotices(),
            () => whole.withoutTransientNotices(),
          ),
        );
        answers += asked.filter(Boolean).length;
      },
    ),
    { numRuns: 300 },
  );
  expect(answers).toBeGreaterThan(1000);
});
