import fc from "fast-check";
import type { DocumentPart } from "@bolthole/contract";
import { assembleInTurns } from "../in-turns.js";
import { type Finding, checkTranscript } from "./check.js";
import { checkIncrementally } from "./incremental-check.js";
import { MESSAGE, list, member, name, plain, struct } from "./random-message.test.helper.js";
import { type PlacedMessages, type RememberedSession, placedLists } from "./remembered-session.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { type SessionState, appended, rewritten, sessionText, startedSession } from "./session-state.test.helper.js";
import type { Specimen } from "./specimen.test.helper.js";

const textOf = (state: SessionState): Buffer => Buffer.from(sessionText(state));

/** The parts of a document, as a client that looks for long equal stretches would send them. */
function partsOf(base: Buffer, next: Buffer, least: number): DocumentPart[] {
  const parts: DocumentPart[] = [];
  let inserted = 0;
  const insertTo = (end: number): void => {
    if (end > inserted) parts.push(next.subarray(inserted, end));
  };
  for (let at = 0; at < next.length;) {
    const { offset, length } = longest(base, next, at);
    if (length < least) {
      at += 1;
      continue;
    }
    insertTo(at);
    parts.push({ offset, length });
    at += length;
    inserted = at;
  }
  insertTo(next.length);
  return parts;
}

/** The longest stretch of the base that the new document has at this place; of equal ones the last. */
function longest(base: Buffer, next: Buffer, at: number): { offset: number; length: number } {
  let best = { offset: 0, length: 0 };
  const start = next.subarray(at, at + 8);
  for (let offset = base.indexOf(start); offset >= 0 && start.length === 8; offset = base.indexOf(start, offset + 1)) {
    let length = 8;
    while (at + length < next.length && base[offset + length] === next[at + length]) length += 1;
    if (length >= best.length) best = { offset, length };
  }
  return best;
}

/** Texts that change what the bytes around them mean. */
const TOKENS = [
  ...["{", "}", "[", "]", ",", ":", '"', "0"],
  "\\",
  "\0",
  " ",
  '"messages":',
  '"messages":[],',
  '"metadata":{},',
  '"metadata":{"session_transcript_history_state_v1":',
  "[[[[",
  "]]]]",
  "null",
  "1.0",
  "é",
  '{"role":"user","content":"more","created_at":"2026-05-28T15:31:27Z"}',
].map((text) => Buffer.from(text));

const EDIT = fc.record({
  kind: fc.constantFrom("insert", "cut", "drop", "repeat", "swap", "move", "messages", "messages", "messages"),
  place: fc.nat(10_000),
  other: fc.nat(10_000),
  token: fc.constantFrom(...TOKENS),
});
type EditOfParts = typeof EDIT extends fc.Arbitrary<infer T> ? T : never;

/** Puts messages of one list before, after or in the place of a message of the same or another list. */
function movedMessages(
  parts: readonly DocumentPart[],
  { place, other }: EditOfParts,
  lists: readonly PlacedMessages[],
): DocumentPart[] {
  const from = lists[place % lists.length];
  const to = lists[other % lists.length];
  if (!from || !to) return [...parts];
  const start = (place >> 2) % from.messages.length;
  const end = Math.min(from.messages.length - 1, start + ((other >> 4) % 3));
  const offset = from.at + (from.messages.starts[start] ?? 0);
  const run = { offset, length: from.at + (from.messages.ends[end] ?? 0) - offset };
  const target = (other >> 2) % to.messages.length;
  // Before anything else is edited, the places of the stored document are those of the new one up to the first change.
  const [before, rest] = splitAt(parts, to.at + (to.messages.starts[target] ?? 0));
  const [message, after] = splitAt(rest, (to.messages.ends[target] ?? 0) - (to.messages.starts[target] ?? 0));
  const comma = Buffer.from(",");
  switch ((place >> 5) % 4) {
    case 0:
      return [...before, run, comma, ...message, ...after];
    case 1:
      return [...before, ...message, comma, run, ...after];
    case 2:
      return [...before, run, ...after];
    default:
      // Without the message, and without the comma after it.
      return [...before, ...splitAt(after, 1)[1]];
  }
}

/** Changes what is copied and inserted without a thought for what it means. */
function edited(parts: readonly DocumentPart[], edit: EditOfParts, lists: readonly PlacedMessages[]): DocumentPart[] {
  const { kind, place, other, token } = edit;
  const length = parts.reduce((total, part) => total + part.length, 0);
  if (length === 0) return [...parts];
  const [before, after] = splitAt(parts, place % length);
  const index = place % parts.length;
  const another = other % parts.length;
  switch (kind) {
    case "messages":
      return movedMessages(parts, edit, lists);
    case "insert":
      return [...before, token, ...after];
    case "cut":
      return [...before, ...splitAt(after, Math.min(other % 40, length - (place % length)))[1]];
    case "drop":
      return parts.filter((_, at) => at !== index);
    case "repeat":
      return parts.flatMap((part, at) => (at === index ? [part, part] : [part]));
    case "swap":
      return parts.map((part, at) => (at === index ? parts[another] : at === another ? parts[index] : part) ?? part);
    case "move": {
      const part = parts[another];
      return part ? [...before, part, ...after] : [...parts];
    }
  }
}

function splitAt(parts: readonly DocumentPart[], place: number): [DocumentPart[], DocumentPart[]] {
  const before: DocumentPart[] = [];
  const after: DocumentPart[] = [];
  let at = 0;
  for (const part of parts) {
    const here = Math.max(0, Math.min(part.length, place - at));
    const [head, tail] =
      part instanceof Uint8Array
        ? [part.subarray(0, here), part.subarray(here)]
        : [
            { offset: part.offset, length: here },
            { offset: part.offset + here, length: part.length - here },
          ];
    if (head.length > 0) before.push(head);
    if (tail.length > 0) after.push(tail);
    at += part.length;
  }
  return [before, after];
}

interface Kept {
  readonly text: Buffer;
  readonly remembered: RememberedSession;
}

const copyOf = (bytes: Uint8Array): Buffer<ArrayBuffer> => Buffer.from(bytes);

/** Both checks of one document: the whole one has the word, and the incremental one never contradicts it. */
async function checkBoth(
  before: Kept,
  document: readonly DocumentPart[],
  isGuarded: boolean,
): Promise<{ text: Buffer; whole: Finding; parts: Finding | undefined }> {
  const text = await assembleInTurns(document, before.text);
  const guard = isGuarded ? { previous: copyOf(before.text), commit: undefined } : undefined;
  const sha256 = await ResumableSha256.load();
  const whole = checkTranscript({ incoming: text, guard, remembers: true }, { sha256 });
  const parts = await checkIncrementally({
    document,
    before: before.remembered,
    guard: isGuarded ? {} : undefined,
    leastLeftOut: 1,
    read: (stretches) =>
      Promise.resolve(stretches.map(({ offset, length }) => before.text.subarray(offset, offset + length))),
  });
  if (parts) {
    expect(parts.kind).toBe("accepted");
    expect(whole).toMatchObject({ kind: "accepted", id: parts.kind === "accepted" ? parts.id : "" });
    if (whole.kind === "accepted" && parts.kind === "accepted") expectSame(parts.remembered, whole.remembered, sha256);
  }
  return { text, whole, parts };
}

/** What both remember of one document is the same; the one may know more than the other. */
function expectSame(
  parts: RememberedSession | undefined,
  whole: RememberedSession | undefined,
  sha256: ResumableSha256,
): void {
  if (!parts) return;
  if (!whole) throw new Error("only the check in parts remembers the document");
  const facts = ({ transcript, history }: RememberedSession): unknown => [
    ...[transcript, ...(history?.bodies.map(({ messages }) => messages) ?? [])].map(({ at, messages }) => ({
      at: messages.length === 0 ? 0 : at,
      length: messages.length,
      starts: [...messages.starts],
      ends: [...messages.ends],
      depth: messages.depth,
      isNormalised: messages.isNormalised,
      systemText: messages.systemText,
      transientNotices: [...messages.transientNotices],
    })),
    history?.head,
    history?.commits,
    history?.bodies.map(({ revision, parentRevision, createdAt }) => ({ revision, parentRevision, createdAt })),
  ];
  expect(facts(parts)).toEqual(facts(whole));
  const ended = ({ transcript }: RememberedSession): string | undefined =>
    transcript.messages.sha256State && sha256.goOn(transcript.messages.sha256State, [], "]").digest;
  expect(ended(parts) ?? ended(whole)).toBe(ended(whole) ?? ended(parts));
  for (const [span, digest] of parts.transcript.messages.digests) {
    expect(whole.transcript.messages.digests.get(span) ?? digest).toBe(digest);
  }
}

async function started(state: SessionState): Promise<Kept | undefined> {
  const text = textOf(state);
  const sha256 = await ResumableSha256.load();
  // Against itself, as a turn that adds nothing: the guards then ask for all digests.
  const guard = { previous: copyOf(text), commit: undefined };
  const finding = checkTranscript({ incoming: text, guard, remembers: true }, { sha256 });
  if (finding.kind !== "accepted") throw new Error(`a sound session was ${finding.kind}`);
  return finding.remembered && { text, remembered: finding.remembered };
}

const MESSAGES = fc.array(MESSAGE, { minLength: 1, maxLength: 5 });
const REWRITES = fc.array(fc.record({ start: fc.nat(5), count: fc.nat(3), replacement: MESSAGES, then: MESSAGES }), {
  maxLength: 3,
});

/** A session with rewrites behind it, each followed by an append. */
const SESSION = fc.record({ first: MESSAGES, rewrites: REWRITES }).map(({ first, rewrites }) =>
  rewrites.reduce((state, { start, count, replacement, then }) => {
    const from = Math.min(start, state.messages.length);
    return appended(rewritten(state, from, Math.min(from + count, state.messages.length), replacement), then);
  }, startedSession(first)),
);

const LEAST = fc.constantFrom(8, 24, 100);

test("turns of a session are followed, one after the other, without a look at the whole", async () => {
  let followed = 0;
  let turns = 0;
  await fc.assert(
    fc.asyncProperty(
      SESSION,
      fc.array(MESSAGES, { minLength: 1, maxLength: 4 }),
      LEAST,
      async (state, added, least) => {
        let before = await started(state);
        if (!before) throw new Error("the session is not remembered");
        let session = state;
        for (const messages of added) {
          session = appended(session, messages);
          const both = await checkBoth(before, partsOf(before.text, textOf(session), least), true);
          expect(both.whole.kind).toBe("accepted");
          turns += 1;
          if (both.parts) followed += 1;
          const finding = both.parts ?? both.whole;
          if (finding.kind !== "accepted" || !finding.remembered) return;
          before = { text: both.text, remembered: finding.remembered };
        }
      },
    ),
    { numRuns: 60 },
  );
  expect(followed / turns).toBeGreaterThan(0.9);
});

test.each([
  ["guarded", true],
  ["only read", false],
])("documents made by senseless edits get the verdict of the whole check (%s)", async (_title, isGuarded) => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(
      SESSION,
      MESSAGES,
      LEAST,
      fc.array(EDIT, { minLength: 1, maxLength: 3 }),
      async (state, added, least, edits) => {
        const before = await started(state);
        if (!before) return;
        const parts = partsOf(before.text, textOf(appended(state, added)), least);
        const lists = placedLists(before.remembered);
        const document = edits.reduce((made, edit) => edited(made, edit, lists), parts);
        const both = await checkBoth(before, document, isGuarded);
        if (both.parts) accepted += 1;
      },
    ),
    { numRuns: 250 },
  );
  // White space and repeated bytes in the right places do no harm: some of these documents are sound.
  expect(accepted).toBeGreaterThan(0);
});

/** A session with two rewrites behind it, whose messages take some room and hold deep values. */
function specimenSession(): SessionState {
  const user = (text: string): Specimen =>
    struct(
      member("role", name("user")),
      member("content", name(text)),
      member("created_at", name("2026-05-28T15:31:27Z")),
    );
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

/** Each takes the text of a sound next turn to one that means something else, or the same in another form. */
const TEXT_EDITS: readonly (readonly [what: string, edit: (text: string) => string])[] = [
  ["messages renamed", (text) => text.replace('"messages":', '"messagez":')],
  [
    "a second list of messages behind the first",
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
    "the messages once more, in the metadata",
    (text) =>
      text.replace(
        '"metadata":{',
        `"metadata":{"a":[${/"messages":\[(.*?)\],"created_at":\{/.exec(text)?.[1] ?? ""}],`,
      ),
  ],
  [
    "the messages of a body once more, deeper than they may be",
    (text) => {
      const messages = /"metadata".*?"messages":\[(.*?)\],"(?:parent_)?revision"/.exec(text)?.[1] ?? "";
      return text.replace('}},"usage"', `},"z":[[[[[[[[${messages}]]]]]]]]},"usage"`);
    },
  ],
  ["a body's name changed", (text) => text.replace(/"revision":"sha256:(..)/g, '"revision":"sha256:00')],
  ["a parent cut off", (text) => text.replace(/"parent_revision":"sha256:[0-9a-f]+",/, "")],
  ["the head moved back", (text) => text.replace(/"head":"sha256:../, '"head":"sha256:00')],
  ["a time in another form", (text) => text.replace("15:31:27Z", "15:31:27.000Z")],
  ["a number in another form", (text) => text.replace('"messages_before":4', '"messages_before":4.0')],
  ["members in another order", (text) => text.replace('"role":"user","content":"2"', '"content":"2","role":"user"')],
  ["spaces between messages", (text) => text.replaceAll("},{", "} , {")],
  ["a message of another role", (text) => text.replace('"role":"user"', '"role":"system"')],
  ["a text changed", (text) => text.replace('"content":"three"', '"content":"threE"')],
  ["an escape for a letter", (text) => text.replace('"three"', '"thr\\u0065e"')],
  ["a byte that no text has", (text) => text.replace("},{", "},\0{")],
  ["another version", (text) => text.replace('"version":2', '"version":3')],
  ["something after the end", (text) => `${text} {}`],
];

test.each(TEXT_EDITS)("%s", async (_what, edit) => {
  const state = specimenSession();
  const before = await started(state);
  if (!before) throw new Error("the session is not remembered");
  const turn = textOf(appended(state, state.messages.slice(0, 1))).toString();
  const text = edit(turn);
  expect(text).not.toBe(turn);
  for (const isGuarded of [true, false]) {
    for (const least of [8, 40, 200])
      await checkBoth(before, partsOf(before.text, Buffer.from(text), least), isGuarded);
  }
});
