import { type MessageInitShape, create, toBinary } from "@bufbuild/protobuf";
import { JsonError, canonicalUuid, shown, writeInputState } from "@bolthole/json";
import type { StoredInputState } from "@bolthole/json/model";
import type { OpsSnapshotInfoSchema } from "../gen/bolthole/v1/operations_pb.js";
import type { SessionSnapshotInfoSchema } from "../gen/bolthole/v1/session_pb.js";
import * as pb from "../gen/bolthole/v1/store_pb.js";
import { type StoredInputState as InputStateMessage, StoredInputStateSchema } from "../gen/bolthole/v1/input_pb.js";
import { type StoreError, readFailed } from "../store-error.js";
import type {
  DocumentRecord,
  InputStatePiece,
  LoadedDocument,
  LoadedInputStates,
  LoadedSnapshot,
  UploadInputStates,
  UploadSessionSnapshot,
} from "../versioned-store.js";
import { refuseOthers, requireBytes, requireObject } from "./field-types.js";
import { InvalidArgumentError, at, byteCount, requireField, roundedNumber } from "./message-codec.js";
import { inputState } from "./json-form.js";
import { sessionProfile } from "./session-change.js";
import { decodeMessage, decodedBytes } from "./sliced-decoding.js";
import { fromErrorDetail, toErrorDetail } from "./status.js";

/**
 * Reads the first message of a stream. `all` has every message, including the first one; `first` is undefined when the
 * stream has no messages.
 */
export async function withFirst<T>(
  messages: AsyncIterable<T>,
): Promise<{ readonly first: T | undefined; readonly all: AsyncIterable<T> }> {
  const iterator = messages[Symbol.asyncIterator]();
  const first = await iterator.next();
  async function* all(): AsyncGenerator<T> {
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { first: first.done === true ? undefined : first.value, all: all() };
}

/** Reads a snapshot. A stream without messages means that no snapshot is stored. */
export async function readSnapshot(
  messages: AsyncIterable<pb.LoadSessionSnapshotResponse>,
): Promise<LoadedSnapshot | undefined> {
  const { first, all } = await withFirst(messages);
  if (!first) return undefined;
  const info = requireField(first.info, "info");
  return {
    version: info.version,
    length: roundedNumber.toModel(info.length),
    profile: at("info.profile", () => sessionProfile.toModel(info.profile)),
    chunks: chunksOf(all),
  };
}

/** Writes a snapshot. The first message has the facts about the snapshot and its first bytes. */
export async function* writeSnapshot(
  snapshot: LoadedSnapshot | undefined,
): AsyncGenerator<MessageInitShape<typeof pb.LoadSessionSnapshotResponseSchema>> {
  if (!snapshot) return;
  const { version, length, profile } = snapshot;
  let info: MessageInitShape<typeof SessionSnapshotInfoSchema> | undefined = {
    version,
    length: BigInt(length),
    profile: sessionProfile.toWire(profile),
  };
  for await (const chunk of snapshot.chunks) {
    yield info ? { info, chunk } : { chunk };
    info = undefined;
  }
  if (info) yield { info };
}

/** Reads the JSON of an operation snapshot. A stream without messages means that none is stored. */
export async function readOpsJson(
  messages: AsyncIterable<pb.LoadOpsLifecycleJsonResponse>,
): Promise<LoadedDocument | undefined> {
  const { first, all } = await withFirst(messages);
  if (!first) return undefined;
  const { version, length } = requireField(first.info, "info");
  return { version, length: roundedNumber.toModel(length), chunks: chunksOf(all) };
}

/** Writes the JSON of an operation snapshot. The first message has the facts about it and its first bytes. */
export async function* writeOpsJson(
  loaded: LoadedDocument | undefined,
): AsyncGenerator<MessageInitShape<typeof pb.LoadOpsLifecycleJsonResponseSchema>> {
  if (!loaded) return;
  let info: MessageInitShape<typeof OpsSnapshotInfoSchema> | undefined = {
    version: loaded.version,
    length: BigInt(loaded.length),
  };
  for await (const chunk of loaded.chunks) {
    yield info ? { info, chunk } : { chunk };
    info = undefined;
  }
  if (info) yield { info };
}

async function* chunksOf(messages: AsyncIterable<{ readonly chunk: Uint8Array }>): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of messages) yield chunk;
}

function documentRecord(kind: pb.RecordKind): DocumentRecord | undefined {
  if (kind === pb.RecordKind.UNSPECIFIED || kind === pb.RecordKind.SESSION_SNAPSHOT) return undefined;
  if (kind === pb.RecordKind.OPS_LIFECYCLE) return "ops_lifecycle";
  const expected = "RECORD_KIND_SESSION_SNAPSHOT or RECORD_KIND_OPS_LIFECYCLE";
  throw new InvalidArgumentError("upload.record", expected, pb.RecordKind[kind]);
}

/** Reads an upload. The first message describes the document, and all others have bytes. */
export async function readUpload(
  messages: AsyncIterable<pb.UploadSessionSnapshotRequest>,
): Promise<UploadSessionSnapshot> {
  const { first, all } = await withFirst(messages);
  if (first?.part.case !== "upload") throw new InvalidArgumentError("upload", "in the first message", "none");
  const { runtimeId, length, sha256, record } = first.part.value;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const message of all) {
      if (message === first) continue;
      if (message.part.case !== "chunk") throw new InvalidArgumentError("chunk", "in every message after the first");
      yield message.part.value;
    }
  }
  return {
    runtimeId: requireField(runtimeId, "upload.runtime_id"),
    record: documentRecord(record),
    length: at("upload.length", () => byteCount.toModel(length)),
    sha256,
    chunks: chunks(),
  };
}

const UPLOADED_RECORDS: readonly (DocumentRecord | undefined)[] = ["session_snapshot", "ops_lifecycle", undefined];

/** Returns the message that describes the document of an upload. */
export function uploadStart({
  runtimeId,
  record,
  length,
  sha256,
}: UploadSessionSnapshot): MessageInitShape<typeof pb.UploadSessionSnapshotRequestSchema> {
  if (!UPLOADED_RECORDS.includes(record)) {
    throw new InvalidArgumentError("upload.record", "session_snapshot or ops_lifecycle", shown(record));
  }
  const kind = record === "ops_lifecycle" ? pb.RecordKind.OPS_LIFECYCLE : pb.RecordKind.UNSPECIFIED;
  const value = {
    runtimeId: requireField(runtimeId, "upload.runtime_id"),
    record: kind,
    length: at("upload.length", () => byteCount.toWire(length)),
    sha256: requireField(sha256, "upload.sha256"),
  };
  return { part: { case: "upload", value } };
}

/** Writes an upload: a message that describes the document, then one message for each chunk. */
export async function* writeUpload(
  upload: UploadSessionSnapshot,
): AsyncGenerator<MessageInitShape<typeof pb.UploadSessionSnapshotRequestSchema>> {
  yield uploadStart(upload);
  for await (const chunk of upload.chunks) yield { part: { case: "chunk", value: chunk } };
}

const UPLOAD_MEMBERS: ReadonlySet<string> = new Set<keyof UploadSessionSnapshot>([
  "runtimeId",
  "record",
  "length",
  "sha256",
  "chunks",
]);
export const refuseBesideUpload = (upload: UploadSessionSnapshot): void => {
  refuseOthers(upload, UPLOAD_MEMBERS);
};

/** Reads an upload of input rows. The first message describes it, and all others have rows or pieces of a row. */
export async function readInputUpload(
  messages: AsyncIterable<pb.UploadInputStatesRequest>,
): Promise<UploadInputStates> {
  const { first, all } = await withFirst(messages);
  const upload = requireField(first?.upload, "upload");
  async function* parts(): UploadInputStates["parts"] {
    let rows = 0;
    let pieceBytes = 0;
    for await (const message of all) {
      if (message !== first && message.upload) throw new InvalidArgumentError("upload", "in the first message only");
      const { states, piece } = message;
      if (states.length > MAX_UPLOADED_STATES) {
        const found = String(states.length);
        throw new InvalidArgumentError("states", `at most ${String(MAX_UPLOADED_STATES)} rows in a message`, found);
      }
      // Few rows at a time: the receiver works on them in slices, and the conversion of a row may take as long as its check.
      for (let from = 0; from < states.length; from += CONVERTED_STATES) {
        const first = rows + from;
        yield states
          .slice(from, from + CONVERTED_STATES)
          .map((state, index) => at(`states[${String(first + index)}]`, () => inputState.toModel(state)));
      }
      rows += states.length;
      if (!piece) continue;
      const length = at("piece.length", () => byteCount.toModel(piece.length));
      yield { length, bytes: piece.bytes };
      pieceBytes += piece.bytes.length;
      if (pieceBytes < length) continue;
      rows += 1;
      pieceBytes = 0;
    }
  }
  return {
    runtimeId: requireField(upload.runtimeId, "upload.runtime_id"),
    rowCount: at("upload.row_count", () => byteCount.toModel(upload.rowCount)),
    parts: parts(),
  };
}

/** The rows of a message that are converted in one step. */
const CONVERTED_STATES = 16;

/** The most rows in one message of an upload. */
export const MAX_UPLOADED_STATES = 1024;

/** Returns the message that describes an upload of input rows. */
export const inputUploadStart = ({
  runtimeId,
  rowCount,
}: UploadInputStates): MessageInitShape<typeof pb.UploadInputStatesRequestSchema> => ({
  upload: {
    runtimeId: requireField(runtimeId, "upload.runtime_id"),
    rowCount: at("upload.row_count", () => byteCount.toWire(rowCount)),
  },
});

const INPUT_UPLOAD_MEMBERS: ReadonlySet<string> = new Set<keyof UploadInputStates>(["runtimeId", "rowCount", "parts"]);
export const refuseBesideInputUpload = (upload: UploadInputStates): void => {
  refuseOthers(upload, INPUT_UPLOAD_MEMBERS);
};

/** Returns the message of a row. Throws for a member that the message has no place for. */
function checkedRow(state: StoredInputState): InputStateMessage {
  const message = inputState.toWire(state);
  inputState.refuseUnknown?.(state);
  return message;
}

const PIECE_MEMBERS: ReadonlySet<string> = new Set<keyof InputStatePiece>(["length", "bytes"]);

/** Writes an upload of input rows: a message that describes it, then one message for each part. */
export async function* writeInputUpload(
  upload: UploadInputStates,
): AsyncGenerator<MessageInitShape<typeof pb.UploadInputStatesRequestSchema>> {
  yield inputUploadStart(upload);
  let rows = 0;
  for await (const part of upload.parts) {
    if (!isRows(part)) {
      yield { piece: at("piece", () => pieceOf(part)) };
      continue;
    }
    const first = rows;
    yield {
      states: part.map((state, index) => at(`states[${String(first + index)}]`, () => checkedRow(state))),
    };
    rows += part.length;
  }
}

const isRows = (part: readonly StoredInputState[] | InputStatePiece): part is readonly StoredInputState[] =>
  Array.isArray(part);

function pieceOf(part: InputStatePiece): MessageInitShape<typeof pb.InputStatePieceSchema> {
  requireObject(part);
  refuseOthers(part, PIECE_MEMBERS);
  const { length, bytes } = part;
  at("bytes", () => {
    requireBytes(bytes);
  });
  return { length: at("length", () => byteCount.toWire(length)), bytes };
}

/** Returns a row as its serialised message, whose bytes may be sent in pieces. */
export const encodeInputState = (state: StoredInputState): Uint8Array =>
  toBinary(StoredInputStateSchema, inputState.toWire(state));

/** The most memory that the objects of one row may need, in bytes: more than a million entries of its history. */
const MAX_ROW_OBJECTS = 256 * 1024 * 1024;

/**
 * Returns the row of a serialised message. `field` names it in the `InvalidArgumentError` of bytes that are not a row, and of a row whose
 * objects would need too much memory.
 */
export const decodeInputState = (bytes: Uint8Array, field: string): StoredInputState =>
  at(field, () => {
    const needed = decodedBytes(StoredInputStateSchema, bytes);
    if (needed > MAX_ROW_OBJECTS) {
      const expected = `fields that need at most ${String(MAX_ROW_OBJECTS)} bytes of memory`;
      throw new InvalidArgumentError("", expected, `${String(needed)} bytes`);
    }
    return inputState.toModel(decodeMessage(StoredInputStateSchema, bytes));
  });

/**
 * Returns rows in the order of an upload, ascending and of equal ids the last one, with their indexes among `rows`. The ids may
 * have any accepted spelling. An id that is none keeps its spelling, and the store refuses it.
 */
export function inAscendingOrder(rows: readonly StoredInputState[]): {
  readonly ordered: readonly StoredInputState[];
  readonly indexes: readonly number[];
} {
  const last = new Map<string, number>();
  for (const [index, { inputId }] of rows.entries()) last.set(canonicalUuid(inputId) ?? inputId, index);
  const indexes = [...last].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, index]) => index);
  return { ordered: indexes.flatMap((index) => rows[index] ?? []), indexes };
}

/** Returns the size of a row in its canonical JSON, in bytes, or undefined when the row has no such form. */
export function inputStateBytes(state: StoredInputState): number | undefined {
  try {
    return writeInputState(state).length;
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

/** Reads input rows. The first message has the version of all rows together, and is sent even without rows. */
export async function readInputStates(messages: AsyncIterable<pb.LoadInputStatesResponse>): Promise<LoadedInputStates> {
  const { first, all } = await withFirst(messages);
  const failures: StoreError[] = [];
  async function* batches(): LoadedInputStates["batches"] {
    for await (const message of all) {
      for (const failure of message.failures) {
        const error = failure.detail && fromErrorDetail(failure.detail, failure.message);
        failures.push(error ?? readFailed("DAMAGED_RECORD", failure.message));
      }
      // The first message has no rows when none are stored.
      if (message.entries.length === 0) continue;
      yield message.entries.map(({ state, version }) => ({
        value: at("state", () => inputState.toModel(requireField(state, ""))),
        version,
      }));
    }
  }
  return { inputsVersion: requireField(first, "inputs_version").inputsVersion, batches: batches(), failures };
}

/**
 * Writes input rows, one message for each batch. Failures are sent with the next batch, and those after the last batch in
 * an additional message.
 */
export async function* writeInputStates(
  { inputsVersion, batches, failures }: LoadedInputStates,
  write: (state: StoredInputState) => InputStateMessage = inputState.toWire,
): AsyncGenerator<pb.LoadInputStatesResponse> {
  const sent = { messages: 0, failures: 0 };
  const message = (entries: pb.InputStateEntry[]): pb.LoadInputStatesResponse => {
    const start = sent.messages === 0 ? { inputsVersion } : {};
    const unsent = failures.slice(sent.failures).map(toErrorDetail);
    sent.messages += 1;
    sent.failures = failures.length;
    return create(pb.LoadInputStatesResponseSchema, { ...start, entries, failures: unsent });
  };
  for await (const batch of batches) {
    yield message(
      batch.map(({ value, version }) => create(pb.InputStateEntrySchema, { state: write(value), version })),
    );
  }
  if (sent.messages === 0 || sent.failures < failures.length) yield message([]);
}
