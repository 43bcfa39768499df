import { createHash } from "node:crypto";
import { absent, closed, list, member, name, plain, struct, usage } from "./random-message.js";
import { type Specimen, written } from "./specimen.js";

export const digestOf = (messages: readonly Specimen[]): string =>
  `sha256:${createHash("sha256")
    .update(`[${messages.map((one) => written(one)).join(",")}]`)
    .digest("hex")}`;

const systemTime = (seconds: number, nanos: number): Specimen =>
  closed(member("secs_since_epoch", plain(seconds)), member("nanos_since_epoch", plain(nanos)));

interface Revision {
  readonly revision: string;
  readonly parent: string | undefined;
  readonly messages: readonly Specimen[];
}

/** The state of a session, with the history that the reference would keep. */
export interface SessionState {
  readonly id: string;
  readonly messages: readonly Specimen[];
  readonly history?: {
    readonly head: string;
    readonly commits: readonly Specimen[];
    readonly bodies: readonly Revision[];
  };
}

export const startedSession = (messages: readonly Specimen[]): SessionState => ({
  id: "0198f0a0-0000-7000-8000-000000000001",
  messages,
});

/** Adds messages, and one body if the session has a history. */
export function appended(state: SessionState, added: readonly Specimen[]): SessionState {
  const messages = [...state.messages, ...added];
  const { history } = state;
  if (!history || added.length === 0) return { ...state, messages };
  const revision = digestOf(messages);
  const bodies = [...history.bodies, { revision, parent: history.head, messages }];
  return { ...state, messages, history: { ...history, head: revision, bodies } };
}

/** Replaces the messages in a half-open range, and adds the commit and the bodies of the rewrite to the history. */
export function rewritten(
  state: SessionState,
  start: number,
  end: number,
  replacement: readonly Specimen[],
): SessionState {
  const before = state.messages;
  const messages = [...before.slice(0, start), ...replacement, ...before.slice(end)];
  const parent = digestOf(before);
  const revision = digestOf(messages);
  if (parent === revision) return state;
  const known = state.history?.bodies ?? [{ revision: parent, parent: undefined, messages: before }];
  const isKnown = known.some((body) => body.revision === revision);
  const commit = struct(
    member("parent_revision", name(parent)),
    member("revision", name(revision)),
    member(
      "selection",
      struct(member("type", name("message_range")), member("start", plain(start)), member("end", plain(end))),
    ),
    member("original_span_digest", name(digestOf(before.slice(start, end)))),
    member("replacement_digest", name(digestOf(replacement))),
    member("messages_before", plain(before.length)),
    member("messages_after", plain(messages.length)),
    member("reason", struct(member("kind", name("compaction")), absent("note"))),
    absent("actor"),
    member("committed_at", systemTime(1779982290, 500)),
  );
  return {
    ...state,
    messages,
    history: {
      head: revision,
      commits: [...(state.history?.commits ?? []), commit],
      bodies: isKnown ? known : [...known, { revision, parent, messages }],
    },
  };
}

export function sessionSpecimen({ id, messages, history }: SessionState): Specimen {
  const metadata = history ? [member("session_transcript_history_state_v1", historySpecimen(history))] : [];
  return struct(
    member("version", plain(2)),
    member("id", { kind: "uuid", text: id }),
    member("messages", list(messages)),
    member("created_at", systemTime(1779982287, 123456789)),
    member("updated_at", systemTime(1779982288, 5)),
    member("metadata", { kind: "map", members: metadata }, metadata.length === 0),
    member("usage", usage(0), true),
  );
}

/** Returns the session as the reference writes it: the members of everything inside the metadata are sorted. */
export function sessionText(state: SessionState): string {
  const session = sessionSpecimen(state);
  if (session.kind !== "struct") throw new TypeError("expected the session to be a struct");
  return `{${session.members.map((one) => `"${one.name}":${written(one.value, one.name === "metadata")}`).join(",")}}`;
}

function historySpecimen({ head, commits, bodies }: NonNullable<SessionState["history"]>): Specimen {
  const revisions = bodies.map(({ revision, parent, messages }) =>
    struct(
      member("revision", name(revision)),
      parent === undefined ? absent("parent_revision") : member("parent_revision", name(parent)),
      member("messages", list(messages)),
      member("created_at", systemTime(1779982289, 1)),
    ),
  );
  return struct(member("head", name(head)), member("commits", list(commits)), member("revisions", list(revisions)));
}
