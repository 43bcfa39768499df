import { Buffer } from "node:buffer";
import { type RuntimeStore, StoreError, type StoredInputState } from "@bolthole/contract";
import {
  canonicalTimestamp,
  canonicalRawJson,
  readInputState,
  readRewriteCommit,
  writeInputState,
  writeRewriteCommit,
} from "@bolthole/json";
import { inputId } from "../../fixtures.js";
import type { Difference } from "../replay-report.js";
import { type Reading, type Vector, inputOf, judge, reading } from "../vector.js";
import { type Family, type Verdict, differences } from "./family.js";

const INSTANT = '"2026-05-28T15:31:27Z"';

/** An input row in its written form, with members before and behind the counts. */
const row = (createdAt: string, early = "", late = ""): string =>
  `{"stored_input_state_version":2,"input_id":"${inputId(1)}","current_state":"accepted"${early},"attempt_count":0,` +
  `"recovery_count":0${late},"created_at":${createdAt},"updated_at":${INSTANT}}`;

const payload = (free: string): string =>
  `{"input_type":"external_event","header":{"id":"${inputId(1)}","timestamp":${INSTANT},"source":{"type":"system"},` +
  `"durability":"durable","visibility":{"transcript_eligible":true,"operator_eligible":true}},"event_type":"e",` +
  `"payload":${free},"handling_mode":"queue"}`;

const commit = (time: string): string =>
  `{"parent_revision":"a","revision":"b","selection":{"type":"message_range","start":0,"end":1},` +
  `"original_span_digest":"","replacement_digest":"","messages_before":1,"messages_after":1,` +
  `"reason":{"kind":"k"},"committed_at":${time}}`;

/** A text with the scalar in its hole, bytes that are no UTF-8 included. */
function filled(vector: Vector, template: (hole: string) => string): Buffer {
  const [before = "", after = ""] = template("\u0000").split("\u0000");
  return Buffer.concat([Buffer.from(before), inputOf(vector), Buffer.from(after)]);
}

/** What stands in the hole of a written text. */
function holeOf(text: string, template: (hole: string) => string): string {
  const [before = "", after = ""] = template("\u0000").split("\u0000");
  return text.slice(before.length, text.length - after.length);
}

function through(
  vector: Vector,
  template: (hole: string) => string,
  pass: (source: Buffer) => string,
): Difference | undefined {
  const verdict: Reading<string> = reading(vector, () => pass(filled(vector, template)));
  return judge(vector, "text", verdict, (text) => holeOf(text, template));
}

/** A row is read and then written: two passes, in which an inexact number may move twice (section 15.1). */
const secondPass = (vector: Vector): Vector => {
  const again = vector.expect.ok?.["again"];
  return again === undefined ? vector : { ...vector, expect: { ok: { text: again } } };
};

const throughRow = (source: Buffer): string => writeInputState(readInputState(source)).toString();
const inPayload = (hole: string): string => row(INSTANT, "", `,"persisted_input":${payload(hole)}`);
const inKey = (hole: string): string => row(INSTANT, `,"idempotency_key":${hole}`);

const KINDS: Readonly<Record<string, (vector: Vector, store: RuntimeStore, runtimeId: string) => Promise<Verdict>>> = {
  async number(vector, store, runtimeId) {
    const read = judge(vector, "text", reading(vector, canonicalRawJson), (text) => text);
    const inRow = through(secondPass(vector), inPayload, throughRow);
    return differences(read ?? inRow ?? (await storedPayload(vector, store, runtimeId)));
  },
  string: (vector) => Promise.resolve(differences(through(vector, inKey, throughRow))),
  datetime_json: (vector) => Promise.resolve(differences(through(vector, (hole) => row(hole), throughRow))),
  system_time: (vector) =>
    Promise.resolve(
      differences(through(vector, commit, (source) => writeRewriteCommit(readRewriteCommit(source)).toString())),
    ),
  async datetime(vector, store, runtimeId) {
    const canonical = canonicalTimestamp(String(vector.input));
    const verdict: Reading<string> = canonical === undefined ? { refusal: "no timestamp" } : { value: canonical };
    const read = judge(vector, "text", verdict, (text) => text);
    return differences(read ?? (await storedTime(vector, store, runtimeId)));
  },
  float32: () =>
    Promise.resolve({ skip: "32-bit floats stand only in turn_metadata, which is carried as it is (14.21)" }),
};

export const scalars: Family = {
  needs: [],
  play: async (vector, store, runtimeId) =>
    (await KINDS[vector.kind ?? ""]?.(vector, store, runtimeId)) ?? [
      { op: "read", expected: "a kind that the player knows", got: vector.kind },
    ],
};

const base = (members: Partial<StoredInputState>): StoredInputState => ({
  ...readInputState(row(INSTANT)),
  ...members,
});

/** A row whose text is handed in as it is: the store itself has to bring it into its normal form, or to refuse it. */
async function stored<T>(
  store: RuntimeStore,
  runtimeId: string,
  state: StoredInputState,
  pick: (loaded: StoredInputState) => T,
): Promise<Reading<T | undefined>> {
  try {
    await store.persistInputState(runtimeId, state);
  } catch (error) {
    if (!(error instanceof StoreError) || error.reason !== "INVALID_ARGUMENT") throw error;
    return { refusal: error.text };
  }
  const loaded = await store.loadInputState(runtimeId, inputId(1));
  return { value: loaded && pick(loaded) };
}

async function storedTime(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Difference | undefined> {
  const verdict = await stored(store, runtimeId, base({ createdAt: String(vector.input) }), (one) => one.createdAt);
  return judge(vector, "text", verdict, String);
}

async function storedPayload(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Difference | undefined> {
  const state = base({ persistedInput: payload(String(vector.input)) });
  const verdict = await stored(store, runtimeId, state, (one) => one.persistedInput);
  return judge(vector, "text", verdict, (text) => holeOf(text ?? "", payload));
}
