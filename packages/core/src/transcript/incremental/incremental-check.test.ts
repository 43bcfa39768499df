import fc from "fast-check";
import { compareChecks, indexedSession, partsOf, textOf } from "../../testing/check-comparison.js";
import { EDIT, type EditOfParts, edited } from "../../testing/document-edits.js";
import { MESSAGE, list, member, name, plain, struct } from "../../testing/random-message.js";
import { type SessionState, appended, rewritten, startedSession } from "../../testing/session-state.js";
import type { Specimen } from "../../testing/specimen.js";
import { placedLists } from "./session-index.js";

const MESSAGES = fc.array(MESSAGE, { minLength: 1, maxLength: 5 });
const REWRITES = fc.array(fc.record({ start: fc.nat(5), count: fc.nat(3), replacement: MESSAGES, then: MESSAGES }), {
  maxLength: 3,
});

/** A session that was rewritten some times, with an append after each rewrite. */
const SESSION = fc.record({ first: MESSAGES, rewrites: REWRITES }).map(({ first, rewrites }) =>
  rewrites.reduce((state, { start, count, replacement, then }) => {
    const from = Math.min(start, state.messages.length);
    return appended(rewritten(state, from, Math.min(from + count, state.messages.length), replacement), then);
  }, startedSession(first)),
);

/** The shortest equal range that a client copies, in bytes. */
const LEAST = fc.constantFrom(8, 24, 100);

test("the turns of a session get incremental checks, one after the other", async () => {
  let incremental = 0;
  let turns = 0;
  await fc.assert(
    fc.asyncProperty(
      SESSION,
      fc.array(MESSAGES, { minLength: 1, maxLength: 4 }),
      LEAST,
      async (state, added, least) => {
        let before = await indexedSession(state);
        if (!before) throw new Error("the session has no index");
        let session = state;
        for (const messages of added) {
          session = appended(session, messages);
          const both = await compareChecks(before, partsOf(before.text, textOf(session), least), true);
          expect(both.full.kind).toBe("accepted");
          turns += 1;
          if (both.incremental) incremental += 1;
          const verdict = both.incremental ?? both.full;
          if (verdict.kind !== "accepted" || !verdict.index) return;
          before = { text: both.text, index: verdict.index };
        }
      },
    ),
    { numRuns: 60 },
  );
  expect(incremental / turns).toBeGreaterThan(0.9);
});

/** An edit that changes no meaning: a space after the first bracket. The incremental check accepts it. */
const SPACE: EditOfParts = { kind: "insert", place: 1, other: 0, token: Buffer.from(" ") };

test.each([
  ["with a guard", true],
  ["without a guard", false],
])("documents made by random edits get the verdict of the full check (%s)", async (_title, isGuarded) => {
  let accepted = 0;
  const [state, added] = fc.sample(fc.tuple(SESSION, MESSAGES), { numRuns: 1, seed: 1 })[0] ?? [];
  if (!state || !added) throw new Error("there is no sample");
  await fc.assert(
    fc.asyncProperty(
      SESSION,
      MESSAGES,
      LEAST,
      fc.array(EDIT, { minLength: 1, maxLength: 3 }),
      async (state, added, least, edits) => {
        const before = await indexedSession(state);
        if (!before) return;
        const parts = partsOf(before.text, textOf(appended(state, added)), least);
        const lists = placedLists(before.index);
        const document = edits.reduce((made, edit) => edited(made, edit, lists), parts);
        const both = await compareChecks(before, document, isGuarded);
        if (both.incremental) accepted += 1;
      },
    ),
    // Few random edits give a valid document. The example does always.
    { numRuns: 250, examples: [[state, added, 8, [SPACE]]] },
  );
  expect(accepted).toBeGreaterThan(0);
});

const message = (role: string, text: string): Specimen =>
  struct(member("role", name(role)), member("content", name(text)), member("created_at", name("2026-05-28T15:31:27Z")));

test.each<[title: string, next: (messages: readonly Specimen[]) => Specimen[]]>([
  ["the system text was extended", ([, ...rest]) => [message("system", "rules and context"), ...rest]],
  ["the last messages were removed", (messages) => messages.slice(0, -2)],
])(
  "a document without a guard gets an incremental check after %s, and one with a guard a full check",
  async (_title, next) => {
    const texts = ["one", "two", "three", "four"].map((text) => message("user", text.repeat(20)));
    const messages = [message("system", "rules"), ...texts];
    const before = await indexedSession(startedSession(messages));
    if (!before) throw new Error("the session has no index");
    const parts = partsOf(before.text, textOf(startedSession(next(messages))), 100);
    const { incremental } = await compareChecks(before, parts, false);
    expect(incremental).toMatchObject({ kind: "accepted", index: expect.anything() as unknown });
    expect((await compareChecks(before, parts, true)).incremental).toBeUndefined();
  },
);

/** A session that was rewritten twice, with messages of some length and a deeply nested value. */
function specimenSession(): SessionState {
  const user = (text: string): Specimen => message("user", text);
  const deep = (levels: number): Specimen => (levels === 0 ? plain(1) : list([deep(levels - 1)]));
  const tool = struct(
    member("role", name("block_assistant")),
    member(
      "blocks",
      list([
        struct(
          member("block_type", name("tool_use")),
          member("data", struct(member("id", name("1")), member("name", name("t")), member("args", deep(115)))),
        ),
      ]),
    ),
    member("stop_reason", name("tool_use")),
    member("created_at", name("2026-05-28T15:31:28Z")),
  );
  const first = startedSession([user("one"), tool, user("two"), user("three")]);
  return appended(rewritten(rewritten(first, 2, 3, [user("2")]), 0, 1, [user("1")]), [user("four")]);
}

/** Each edit changes the text of a valid next turn to one with another meaning, or to another spelling of it. */
const TEXT_EDITS: readonly (readonly [what: string, edit: (text: string) => string])[] = [
  ["messages renamed", (text) => text.replace('"messages":', '"messagez":')],
  [
    "a second list of messages after the first",
    (text) => text.replace(',"created_at":{', ',"messages":[],"created_at":{'),
  ],
  ["a list of messages before the first", (text) => text.replace('"messages":', '"messages":[],"messages":')],
  ["a second metadata member", (text) => text.replace(',"usage"', ',"metadata":{},"usage"')],
  ["metadata renamed", (text) => text.replace('"metadata":', '"metadatum":')],
  ["the history renamed", (text) => text.replace("_state_v1", "_state_v2")],
  [
    "the history in a list",
    (text) => text.replace('_state_v1":{', '_state_v1":[{').replace('}},"usage"', '}]},"usage"'),
  ],
  [
    "the messages one level deeper",
    (text) => text.replace('"messages":[', '"messages":[[').replace('],"created_at":{', ']],"created_at":{'),
  ],
  [
    "the bodies deeper in another member",
    (text) =>
      text
        .replace('"session_transcript_history_state_v1":', '"other":[[[[[[')
        .replace('}},"usage"', '}]]]]]]},"usage"'),
  ],
  [
    "the messages repeated in the metadata",
    (text) =>
      text.replace(
        '"metadata":{',
        `"metadata":{"a":[${/"messages":\[(.*?)\],"created_at":\{/.exec(text)?.[1] ?? ""}],`,
      ),
  ],
  [
    "the messages of a body repeated, deeper than allowed",
    (text) => {
      const messages = /"metadata".*?"messages":\[(.*?)\],"(?:parent_)?revision"/.exec(text)?.[1] ?? "";
      return text.replace('}},"usage"', `},"z":[[[[[[[[${messages}]]]]]]]]},"usage"`);
    },
  ],
  ["a body's name changed", (text) => text.replace(/"revision":"sha256:(..)/g, '"revision":"sha256:00')],
  ["a parent cut off", (text) => text.replace(/"parent_revision":"sha256:[0-9a-f]+",/, "")],
  ["the head moved back", (text) => text.replace(/"head":"sha256:../, '"head":"sha256:00')],
  ["another spelling of a time", (text) => text.replace("15:31:27Z", "15:31:27.000Z")],
  ["another spelling of a number", (text) => text.replace('"messages_before":4', '"messages_before":4.0')],
  ["members in another order", (text) => text.replace('"role":"user","content":"2"', '"content":"2","role":"user"')],
  ["spaces between messages", (text) => text.replaceAll("},{", "} , {")],
  ["a message of another role", (text) => text.replace('"role":"user"', '"role":"system"')],
  ["a text changed", (text) => text.replace('"content":"three"', '"content":"threE"')],
  ["an escape instead of a letter", (text) => text.replace('"three"', '"thr\\u0065e"')],
  ["a byte that no JSON text contains", (text) => text.replace("},{", "},\0{")],
  ["another version", (text) => text.replace('"version":2', '"version":3')],
  ["something after the end", (text) => `${text} {}`],
];

test.each(TEXT_EDITS)("the checks agree on a turn with this edit: %s", async (_what, edit) => {
  const state = specimenSession();
  const before = await indexedSession(state);
  if (!before) throw new Error("the session has no index");
  const turn = textOf(appended(state, state.messages.slice(0, 1))).toString();
  const text = edit(turn);
  expect(text).not.toBe(turn);
  for (const isGuarded of [true, false]) {
    for (const least of [8, 40, 200])
      await compareChecks(before, partsOf(before.text, Buffer.from(text), least), isGuarded);
  }
});
