import fc from "fast-check";
import type { DocumentPart } from "@bolthole/contract";
import { assembleYielding } from "../../bytes.js";
import { MESSAGE } from "../../testing/random-message.js";
import { appended, rewritten, sessionText, startedSession } from "../../testing/session-state.js";
import { written } from "../../testing/specimen.js";
import { checkFully } from "../full-check.js";
import { type SessionDocument, parseSession } from "../session-document.js";
import { ParsedTranscript, type Transcript, startsWith } from "../transcript.js";
import { WorkMeter } from "../work-meter.js";
import { TextPlan } from "./elided-text.js";
import { IndexContext, IndexedTranscript } from "./indexed-transcript.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { CacheMissError, type SessionIndex, placedLists } from "./session-index.js";

const MESSAGES = fc.array(MESSAGE, { minLength: 1, maxLength: 4 });

/** Consecutive messages of one of the stored document's lists, or new messages if `isNew`. */
const RUN = fc.record({
  list: fc.nat(20),
  from: fc.nat(20),
  count: fc.integer({ min: 1, max: 6 }),
  isNew: fc.boolean(),
});

const QUESTION = fc.record({ from: fc.nat(12), to: fc.nat(12), other: fc.nat(20), otherFrom: fc.nat(8) });

/** Expects both to return the same value. Returns false on a cache miss. */
function isKnown(indexed: () => unknown, parsed: () => unknown): boolean {
  let value: unknown;
  try {
    value = indexed();
  } catch (error) {
    if (error instanceof CacheMissError) return false;
    throw error;
  }
  expect(value).toEqual(parsed());
  return true;
}

const parsedDocument = (bytes: Buffer): SessionDocument => {
  const meter = new WorkMeter(Infinity);
  return parseSession(bytes, undefined, {
    meter,
    transcriptOf: (messages) => new ParsedTranscript(messages, { meter }),
  });
};

const parsedTranscripts = (document: SessionDocument): Transcript[] => [
  document.transcript,
  ...(document.history()?.bodies ?? []).map(({ transcript }) => transcript),
];

const storedTranscripts = ({ transcript, history }: SessionIndex, context: IndexContext): Transcript[] =>
  [transcript, ...(history?.bodies ?? []).map(({ messages }) => messages)].map(({ list }) =>
    IndexedTranscript.stored(list, context),
  );

test("an indexed transcript returns what a parsed one returns, or a cache miss", async () => {
  const sha256 = await ResumableSha256.load();
  let known = 0;
  await fc.assert(
    fc.asyncProperty(
      MESSAGES,
      MESSAGES,
      MESSAGES,
      fc.array(RUN, { minLength: 1, maxLength: 5 }),
      fc.array(QUESTION, { minLength: 6, maxLength: 12 }),
      async (first, second, third, runs, questions) => {
        const state = appended(appended(rewritten(startedSession([...first, ...second]), 1, 2, third), second), first);
        const base = Buffer.from(sessionText(state));
        const guard = { previous: Buffer.from(base), commit: undefined };
        const verdict = checkFully({ incoming: base, guard, buildsIndex: true }, { sha256 });
        if (verdict.kind !== "accepted" || !verdict.index) throw new Error("the session has no index");
        const { index } = verdict;
        const lists = placedLists(index);

        const messages = runs.flatMap(({ list, from, count, isNew }, place): DocumentPart[] => {
          const { at, list: source } = lists[list % lists.length] ?? {};
          const comma = place === 0 ? [] : [Buffer.from(",")];
          if (isNew || at === undefined || !source) {
            return [...comma, Buffer.from(first.map((one) => written(one)).join(","))];
          }
          const start = from % source.length;
          const end = Math.min(source.length, start + count) - 1;
          const offset = at + (source.starts[start] ?? 0);
          return [...comma, { offset, length: at + (source.ends[end] ?? 0) - offset }];
        });
        const [head = "", tail = ""] = sessionText(startedSession([])).split('"messages":[');
        const document = [Buffer.from(`${head}"messages":[`), ...messages, Buffer.from(tail)];

        const plan = new TextPlan(document, lists, 1);
        const text = plan.text(plan.ranges().map(({ offset, length }) => base.subarray(offset, offset + length)));
        const context = new IndexContext(index, new WorkMeter(Infinity), sha256);
        const elided = parseSession(text.bytes, text.gaps, {
          meter: context.meter,
          transcriptOf: (one) => IndexedTranscript.incoming(one, context),
        });
        const indexed = [elided.transcript, ...storedTranscripts(index, context)];
        const parsed = [
          parsedDocument(await assembleYielding(document, base)).transcript,
          ...parsedTranscripts(parsedDocument(base)),
        ];
        const [mine] = indexed;
        const [whole] = parsed;
        if (!mine || !whole) throw new Error("the document has a transcript");
        expect(mine.length).toBe(whole.length);

        const asked = questions.flatMap(({ from, to, other, otherFrom }) => {
          const start = Math.min(from, to, whole.length);
          const end = Math.min(Math.max(from, to), whole.length);
          const number = other % indexed.length;
          const one = indexed[number] ?? mine;
          const another = parsed[number] ?? whole;
          return [
            isKnown(
              () => mine.digest(start, end),
              () => whole.digest(start, end),
            ),
            isKnown(
              () => mine.equals(start, one, otherFrom, end - start),
              () => whole.equals(start, another, otherFrom, end - start),
            ),
            isKnown(
              () => startsWith(mine, one),
              () => startsWith(whole, another),
            ),
          ];
        });
        asked.push(
          isKnown(
            () => mine.digest(),
            () => whole.digest(),
          ),
          isKnown(
            () => mine.leadingSystemText(),
            () => whole.leadingSystemText(),
          ),
          isKnown(
            () => mine.transientNotices(),
            () => whole.transientNotices(),
          ),
        );
        known += asked.filter(Boolean).length;
      },
    ),
    { numRuns: 300 },
  );
  expect(known).toBeGreaterThan(1000);
});
