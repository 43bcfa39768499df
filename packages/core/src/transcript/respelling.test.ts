import fc from "fast-check";
import { type Session, readSession, readTranscriptHistory } from "@bolthole/json";
import { MESSAGE, SYSTEM_MESSAGE } from "../testing/random-message.js";
import {
  type SessionState,
  appended,
  digestOf,
  rewritten,
  sessionSpecimen,
  startedSession,
} from "../testing/session-state.js";
import { type Choose, respelled, written } from "../testing/specimen.js";
import { checkFully } from "./full-check.js";
import { transcriptMessagesDigest } from "./transcript.js";

const CHOICES = fc.infiniteStream(fc.nat({ max: 0xffff }));
const chooser =
  (stream: Iterator<number>): Choose =>
  (bound) =>
    (stream.next().value as number) % bound;

const MESSAGES = fc
  .tuple(fc.option(SYSTEM_MESSAGE), fc.array(MESSAGE, { maxLength: 4 }))
  .map(([system, rest]) => (system ? [system, ...rest] : rest));

type Edit = (state: SessionState) => SessionState;
const APPEND: fc.Arbitrary<Edit> = fc
  .array(MESSAGE, { maxLength: 2 })
  .map((added) => (state: SessionState) => appended(state, added));
const REWRITE: fc.Arbitrary<Edit> = fc
  .tuple(fc.nat(), fc.nat(), fc.array(MESSAGE, { maxLength: 2 }))
  .map(([from, length, replacement]) => (state: SessionState) => {
    const start = from % (state.messages.length + 1);
    return rewritten(state, start, Math.min(state.messages.length, start + (length % 3)), replacement);
  });
/** Edits that a guard may refuse. */
const BREAK: fc.Arbitrary<Edit> = fc.constantFrom<Edit>(
  (state) => ({ ...state, messages: state.messages.slice(1) }),
  (state) => ({ ...state, messages: [...state.messages].reverse() }),
  ({ history, ...state }) => ({
    ...state,
    ...(history && { history: { ...history, commits: history.commits.slice(1) } }),
  }),
  ({ history, ...state }) => ({
    ...state,
    ...(history && { history: { ...history, bodies: history.bodies.slice(1) } }),
  }),
  ({ history, ...state }) => ({ ...state, ...(history && { history: { ...history, head: "sha256:00" } }) }),
  ({ id, messages }) => ({ id, messages }),
);
const edits = (...kinds: fc.Arbitrary<Edit>[]): fc.Arbitrary<Edit> =>
  fc.array(fc.oneof(...kinds), { maxLength: 3 }).map((all) => (state) => all.reduce((now, edit) => edit(now), state));

test("a document and another spelling of it have the same digests", () => {
  fc.assert(
    fc.property(MESSAGES, edits(APPEND, REWRITE), CHOICES, (messages, edit, stream) => {
      const state = edit(startedSession(messages));
      const specimen = sessionSpecimen(state);
      const session = readSession(written(specimen));
      const twin = readSession(respelled(specimen, chooser(stream)));
      expect(transcriptMessagesDigest(session.messages)).toBe(digestOf(state.messages));
      expect(transcriptMessagesDigest(twin.messages)).toBe(digestOf(state.messages));
      const bodies = ({ metadata }: Session) =>
        readTranscriptHistory(metadata)?.revisions.map((body) => transcriptMessagesDigest(body.messages));
      expect(bodies(session)).toEqual(state.history?.bodies.map(({ revision }) => revision));
      expect(bodies(twin)).toEqual(bodies(session));
      expect(twin.id).toBe(session.id);
    }),
    { numRuns: 400 },
  );
});

test("a document and another spelling of it get the same verdict", () => {
  const kinds = new Map<string, number>();
  fc.assert(
    fc.property(
      MESSAGES,
      edits(APPEND, REWRITE),
      edits(APPEND, REWRITE, APPEND, BREAK),
      CHOICES,
      (messages, before, after, stream) => {
        const choose = chooser(stream);
        const state = before(startedSession(messages));
        const previous = sessionSpecimen(state);
        const incoming = sessionSpecimen(after(state));
        const check = (spell: typeof written) =>
          checkFully({
            incoming: Buffer.from(spell(incoming)),
            guard: { previous: Buffer.from(spell(previous)), commit: undefined },
          });
        const verdict = check(written);
        kinds.set(verdict.kind, (kinds.get(verdict.kind) ?? 0) + 1);
        expect(check((specimen) => respelled(specimen, choose))).toEqual(verdict);
      },
    ),
    { numRuns: 400 },
  );
  // Otherwise the test would compare only one kind of verdict.
  expect([...kinds.keys()].sort()).toEqual(["accepted", "refused"]);
});

test("a session that is only appended to is accepted, rewritten before or not", () => {
  fc.assert(
    fc.property(MESSAGES, edits(REWRITE), APPEND, (messages, before, append) => {
      const state = before(startedSession(messages));
      const incoming = Buffer.from(written(sessionSpecimen(append(state))));
      const previous = Buffer.from(written(sessionSpecimen(state)));
      expect(checkFully({ incoming, guard: { previous, commit: undefined } }).kind).toBe("accepted");
    }),
    { numRuns: 200 },
  );
});

const digestWith = (args: string, time = "2026-05-28T15:31:27Z"): string => {
  const message =
    `{"role":"assistant","content":"","tool_calls":[{"id":"i","name":"n","args":${args}}],"stop_reason":"end_turn",` +
    `"usage":{"input_tokens":1,"output_tokens":1},"created_at":"${time}"}`;
  const session =
    `{"id":"0198f0a0-0000-7000-8000-000000000001","messages":[${message}],` +
    `"created_at":{"secs_since_epoch":1,"nanos_since_epoch":0},"updated_at":{"secs_since_epoch":1,"nanos_since_epoch":0}}`;
  return transcriptMessagesDigest(readSession(session).messages);
};

test.each([
  ["1", "1.0"],
  ["0.0", "-0.0"],
  ["0", "-0"],
  ["[1,2]", "[2,1]"],
  ["null", "{}"],
  ["18446744073709551615", "18446744073709551616"],
  ['"a"', '"A"'],
  ['"é"', '"e\\u0301"'],
])("%s and %s in raw JSON have different digests", (one, other) => {
  expect(digestWith(one)).not.toBe(digestWith(other));
});

test.each([
  ["1.0", "1.000"],
  ["100.0", "1E2"],
  ["18446744073709551616", "1.8446744073709552e19"],
  ['{"a":1,"b":2}', '{"b":2,"a":0,"a":1}'],
])("%s and %s in raw JSON have the same digest", (one, other) => {
  expect(digestWith(one)).toBe(digestWith(other));
});

test("a nanosecond changes the digest of a message, and a time zone does not", () => {
  const digest = digestWith("1", "2026-05-28T15:31:27.000000001Z");
  expect(digestWith("1", "2026-05-28T15:31:27.000000002Z")).not.toBe(digest);
  expect(digestWith("1", "2026-05-28T17:31:27.000000001+02:00")).toBe(digest);
  expect(digestWith("1", "2026-05-28t15:31:27.0000000019z")).toBe(digest);
});
