import { createHash } from "node:crypto";
import { type TranscriptVerdict, checkFully } from "./full-check.js";

const sha256 = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const digestOf = (messages: readonly string[]): string => sha256(`[${messages.join(",")}]`);
const user = (text: string): string => `{"role":"user","content":"${text}","created_at":"2026-05-28T15:31:27Z"}`;
const TIME = `{"nanos_since_epoch":0,"secs_since_epoch":1}`;

interface BodyText {
  readonly revision: string;
  readonly messages: readonly string[];
  readonly parent?: string | undefined;
}
const bodyText = ({ revision, messages, parent }: BodyText): string =>
  `{"created_at":${TIME},"messages":[${messages.join(",")}]${parent === undefined ? "" : `,"parent_revision":"${parent}"`},` +
  `"revision":"${revision}"}`;

interface CommitText {
  readonly parent: string;
  readonly revision: string;
  readonly span: readonly [number, number];
  readonly original: string;
  readonly replacement: string;
  readonly counts: readonly [number, number];
}
const commitText = ({ parent, revision, span, original, replacement, counts }: CommitText): string =>
  `{"committed_at":${TIME},"messages_after":${counts[1]},"messages_before":${counts[0]},` +
  `"original_span_digest":"${original}","parent_revision":"${parent}","reason":{"kind":"x"},` +
  `"replacement_digest":"${replacement}","revision":"${revision}",` +
  `"selection":{"end":${span[1]},"start":${span[0]},"type":"message_range"}}`;

const sessionText = (
  messages: readonly string[],
  history?: { head: string; commits: readonly string[]; bodies: readonly BodyText[] },
): Buffer =>
  Buffer.from(
    `{"version":2,"id":"0198f0a0-0000-7000-8000-000000000001","messages":[${messages.join(",")}],` +
      `"created_at":${TIME},"updated_at":${TIME},"metadata":{` +
      (history === undefined
        ? ""
        : `"session_transcript_history_state_v1":{"commits":[${history.commits.join(",")}],"head":"${history.head}",` +
          `"revisions":[${history.bodies.map(bodyText).join(",")}]}`) +
      `}}`,
  );

const boundary = (incoming: Buffer, previous: Buffer): TranscriptVerdict =>
  checkFully({ incoming, guard: { previous, commit: undefined } });
const textOf = (verdict: TranscriptVerdict): string =>
  verdict.kind === "refused" ? verdict.refusal.text : verdict.kind;

const MALFORMED =
  "session 0198f0a0-0000-7000-8000-000000000001 rewrite rejected: incoming transcript history state is malformed: ";

/** Two bodies, and the commit of a rewrite between them. The parent pointers of the bodies may contradict the commit. */
function rewriteWith(pointers: { before?: string; after?: string }) {
  const before = [user("a"), user("b")];
  const after = [user("a"), user("c")];
  const [parent, revision] = [digestOf(before), digestOf(after)];
  const commit = commitText({
    parent,
    revision,
    span: [1, 2],
    original: digestOf([user("b")]),
    replacement: digestOf([user("c")]),
    counts: [2, 2],
  });
  const named = (name: string | undefined): string | undefined =>
    name === "before" ? parent : name === "after" ? revision : name;
  const bodies = [
    { revision: parent, messages: before, parent: named(pointers.before) },
    { revision, messages: after, parent: named(pointers.after) },
  ];
  return { before, after, commit, bodies, parent, revision };
}

test("an audited rewrite is accepted, and the same messages without one are not", () => {
  const { before, after, commit, bodies, revision } = rewriteWith({ after: "before" });
  const previous = sessionText(before);
  expect(boundary(sessionText(after, { head: revision, commits: [commit], bodies }), previous).kind).toBe("accepted");
  expect(textOf(boundary(sessionText(after), previous))).toMatch(
    /^session .* save rejected: incoming transcript is not/,
  );
  expect(textOf(boundary(sessionText(before.slice(1)), previous))).toMatch(
    /save rejected: new message count 1 is shorter than previously persisted 2 without transcript-continuity proof$/,
  );
});

test("a session that goes back and forth between two revisions thousands of times is accepted as a whole", () => {
  const same = Array.from({ length: 10_000 }, (_, index) => user(String(index)));
  const revisions = ["b", "c"].map((text) => [...same, user(text), user("end")]);
  const [parent = "", revision = ""] = revisions.map(digestOf);
  const selected = { span: [same.length, same.length + 1], counts: [same.length + 2, same.length + 2] } as const;
  const [original = "", replacement = ""] = ["b", "c"].map((text) => digestOf([user(text)]));
  const there = commitText({ parent, revision, original, replacement, ...selected });
  const back = commitText({
    parent: revision,
    revision: parent,
    original: replacement,
    replacement: original,
    ...selected,
  });
  const [first = [], second = []] = revisions;
  const bodies = [
    { revision: parent, messages: first },
    { revision, messages: second, parent },
  ];
  const commits = Array.from({ length: 3001 }, (_, index) => (index % 2 === 0 ? there : back));
  const text = sessionText(second, { head: revision, commits, bodies });
  expect(boundary(text, text).kind).toBe("accepted");
});

test.each([
  ["to itself", { after: "after" }],
  ["to each other", { before: "after", after: "before" }],
])("bodies whose parent pointers lead %s are refused when a guard follows them", (_title, pointers) => {
  const { before, after, commit, bodies, parent, revision } = rewriteWith(pointers);
  // The head is neither the parent nor the result of the commit, so following its parents never ends.
  const other = [...after, user("d")];
  const head = { revision: digestOf(other), messages: other, parent: digestOf(other) };
  const incoming = sessionText(other, { head: head.revision, commits: [commit], bodies: [...bodies, head] });
  expect(textOf(boundary(incoming, sessionText(before)))).toBe(
    `${MALFORMED}transcript history state is malformed: the parents of transcript revision ${head.revision} form a cycle`,
  );
  expect([parent, revision]).toHaveLength(2);
});

test("a cycle of parents that no guard follows is accepted", () => {
  const { before, after, commit, bodies, revision } = rewriteWith({ after: "before" });
  const other = { revision: digestOf([user("z")]), messages: [user("z")], parent: digestOf([user("z")]) };
  const incoming = sessionText(after, { head: revision, commits: [commit], bodies: [...bodies, other] });
  expect(boundary(incoming, sessionText(before)).kind).toBe("accepted");
});

/** Runs a check that must end soon. The time limit has room for a busy machine. */
function soon(run: () => TranscriptVerdict): TranscriptVerdict {
  const start = process.cpuUsage();
  const verdict = run();
  // CPU time is measured, because other processes may delay this one. The attack that these documents try takes minutes of it.
  expect(process.cpuUsage(start).user).toBeLessThan(10_000_000);
  return verdict;
}

test("a chain of many thousand parents is followed only once", () => {
  const bodies: BodyText[] = [];
  for (let index = 0; index < 20_000; index++) {
    const messages = [user(String(index))];
    bodies.push({ revision: digestOf(messages), messages, parent: bodies[index - 1]?.revision });
  }
  const last = bodies[bodies.length - 1];
  const { before, commit, bodies: two } = rewriteWith({ after: "before" });
  const history = { head: last?.revision ?? "", commits: [commit], bodies: [...two, ...bodies] };
  const verdict = soon(() => boundary(sessionText(last?.messages ?? [], history), sessionText(before)));
  expect(textOf(verdict)).toContain("does not extend the rewrite chain");
});

test("many commits over the same two bodies are refused before they take quadratic time", () => {
  const long = Array.from({ length: 3_000 }, (_, index) => user(String(index).padStart(400, "x")));
  const added = user("new");
  const all = [...long, added].join(",");
  const width = long[0]?.length ?? 0;
  const [parent, revision] = [digestOf(long), digestOf([...long, added])];
  const commits = Array.from({ length: 300 }, (_, start) => {
    const rest = all.slice(start * (width + 1));
    return commitText({
      parent,
      revision,
      span: [start, long.length],
      original: sha256(`[${rest.slice(0, -added.length - 1)}]`),
      replacement: sha256(`[${rest}]`),
      counts: [long.length, long.length + 1],
    });
  });
  const after = [...long, added];
  const bodies = [
    { revision: parent, messages: long, parent: revision },
    { revision, messages: after, parent },
  ];
  const incoming = sessionText(after, { head: revision, commits, bodies });
  expect(textOf(soon(() => boundary(incoming, sessionText(long))))).toBe(
    `${MALFORMED}checking it takes more than 32 times the work of reading it`,
  );
});

test("a chain of many rewrites is accepted in a short time", () => {
  const bodies: BodyText[] = [];
  const commits: string[] = [];
  let messages = [user("start")];
  for (let index = 0; index < 2_000; index++) {
    const next = [user(`summary ${index}`)];
    const [parent, revision] = [digestOf(messages), digestOf(next)];
    if (index === 0) bodies.push({ revision: parent, messages });
    bodies.push({ revision, messages: next, parent });
    const [original, replacement] = [parent, revision];
    commits.push(commitText({ parent, revision, span: [0, 1], original, replacement, counts: [1, 1] }));
    messages = next;
  }
  const incoming = sessionText(messages, { head: digestOf(messages), commits, bodies });
  expect(soon(() => boundary(incoming, sessionText([user("start")]))).kind).toBe("accepted");
});

test.each([
  ["lists", "[".repeat(1_000_000)],
  ["objects", '{"a":'.repeat(1_000_000)],
  ["digits", "1".repeat(1_000_000)],
  ["fraction digits", `0.${"3".repeat(1_000_000)}`],
  ["an exponent", `1e${"9".repeat(1_000_000)}`],
  ["spaces", " ".repeat(1_000_000)],
  ["a text", `"${"\\u0041".repeat(200_000)}"`],
])("a document with a million %s is checked in a short time", (_title, value) => {
  for (const place of ["messages", "metadata", "ignored"]) {
    const text = `{"id":"0198f0a0-0000-7000-8000-000000000001","created_at":${TIME},"updated_at":${TIME},"${place}":${value}`;
    soon(() => checkFully({ incoming: Buffer.from(text) }));
    const message = `{"role":"user","content":"x","created_at":${value}}`;
    soon(() => checkFully({ incoming: sessionText([message]) }));
  }
});

test.each([" ", "1", "2026-05-28T15:31:27.", "+0", "2026-05-28T15:31:27+00:"])(
  "a long text of %j in the place of a time is rejected in a short time",
  (part) => {
    const time = part + (part.length > 2 ? part.slice(-1) : part).repeat(300_000);
    const message = `{"role":"user","content":"x","created_at":${JSON.stringify(time)}}`;
    expect(soon(() => checkFully({ incoming: sessionText([message]) })).kind).toBe("unreadable");
  },
);
