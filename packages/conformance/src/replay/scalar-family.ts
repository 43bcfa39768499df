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
import { inputId } from "../fixtures.js";
import type { Difference } from "./report.js";
import {
  type Family,
  type Reading,
  type Vector,
  type Verdict,
  differences,
  inputOf,
  judge,
  reading,
} from "./vector.js";

// Scalars (numbers, strings, times) are read and written inside a record that has a hole for them.

/** Returns a record with a scalar in its hole. */
type Template = (hole: string) => string;

const INSTANT = '"2026-05-28T15:31:27Z"';

/** Returns an input row as canonical JSON, with members before and after the counts. */
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

/** Returns the template with the vector's input in its hole. The input may have bytes that are not UTF-8. */
function filled(vector: Vector, template: Template): Buffer {
  const [before = "", after = ""] = template("\u0000").split("\u0000");
  return Buffer.concat([Buffer.from(before), inputOf(vector), Buffer.from(after)]);
}

/** Returns the text in the hole of a written record. */
function holeOf(text: string, template: Template): string {
  const [before = "", after = ""] = template("\u0000").split("\u0000");
  return text.slice(before.length, text.length - after.length);
}

/** Reads and writes the scalar inside a record, and compares it with the expected text. */
function passThrough(vector: Vector, template: Template, rewrite: (source: Buffer) => string): Difference | undefined {
  const read = reading(vector, () => rewrite(filled(vector, template)));
  return judge(vector, "text", read, (text) => holeOf(text, template));
}

/** Returns the vector with the result of a second pass: an inexact number may change in both (contract 9.6). */
const secondPass = (vector: Vector): Vector => {
  const again = vector.expect.ok?.["again"];
  return again === undefined ? vector : { ...vector, expect: { ok: { text: again } } };
};

const rewriteRow = (source: Buffer): string => writeInputState(readInputState(source)).toString();
const inPayload = (hole: string): string => row(INSTANT, "", `,"persisted_input":${payload(hole)}`);
const inKey = (hole: string): string => row(INSTANT, `,"idempotency_key":${hole}`);

/** The kinds of scalars by name. */
const KINDS: Readonly<Record<string, (vector: Vector, store: RuntimeStore, runtimeId: string) => Promise<Verdict>>> = {
  async number(vector, store, runtimeId) {
    const alone = judge(vector, "text", reading(vector, canonicalRawJson), (text) => text);
    const inRow = passThrough(secondPass(vector), inPayload, rewriteRow);
    return differences(alone ?? inRow ?? (await storePayload(vector, store, runtimeId)));
  },
  string: (vector) => Promise.resolve(differences(passThrough(vector, inKey, rewriteRow))),
  datetime_json: (vector) => Promise.resolve(differences(passThrough(vector, (hole) => row(hole), rewriteRow))),
  system_time: (vector) =>
    Promise.resolve(
      differences(passThrough(vector, commit, (source) => writeRewriteCommit(readRewriteCommit(source)).toString())),
    ),
  async datetime(vector, store, runtimeId) {
    const canonical = canonicalTimestamp(String(vector.input));
    const read: Reading<string> = canonical === undefined ? { refusal: "no timestamp" } : { value: canonical };
    const difference = judge(vector, "text", read, (text) => text);
    return differences(difference ?? (await storeTime(vector, store, runtimeId)));
  },
  float32: () =>
    Promise.resolve({ skip: "32-bit floats are only in turn_metadata, which is carried unchanged (contract 5.3)" }),
};

export const scalars: Family = {
  needs: [],
  play: async (vector, store, runtimeId) =>
    (await KINDS[vector.kind ?? ""]?.(vector, store, runtimeId)) ?? [
      { op: "read", expected: "a kind of scalar that the player supports", found: vector.kind },
    ],
};

const base = (members: Partial<StoredInputState>): StoredInputState => ({
  ...readInputState(row(INSTANT)),
  ...members,
});

/** Stores a row with texts that are not canonical, and reads one of them back. The store makes them canonical, or refuses. */
async function storeRow<T>(
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

async function storeTime(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Difference | undefined> {
  const read = await storeRow(store, runtimeId, base({ createdAt: String(vector.input) }), (one) => one.createdAt);
  return judge(vector, "text", read, String);
}

async function storePayload(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Difference | undefined> {
  const state = base({ persistedInput: payload(String(vector.input)) });
  const read = await storeRow(store, runtimeId, state, (one) => one.persistedInput);
  return judge(vector, "text", read, (text) => holeOf(text ?? "", payload));
}
