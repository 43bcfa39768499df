import { hash } from "node:crypto";
import type {
  DocumentPart,
  DocumentRecord,
  OpsDelta,
  RuntimeId,
  SessionChange,
  SessionDelta,
  SnapshotPatch,
} from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { copyYielding, inMemory, sha256Yielding } from "../bytes.js";
import { type Argument, argumentsOf } from "../commit/fingerprint.js";
import type { DocumentParts } from "../engine.js";
import { type StoreContext, versionOf } from "../store-context.js";
import { checkSize, invalid } from "../validate.js";
import type { DocumentBlock } from "./document-memory.js";
import type { StoredDocument } from "./stored-document.js";

/** A new document that is to be stored. It was sent as a whole, as a patch or as an upload. */
export interface Incoming {
  readonly document: DocumentParts;
  /** Memory that only this document uses. A worker may have it while nothing else reads it. */
  readonly block?: DocumentBlock | undefined;
  /** The stored document of which the new one contains ranges. */
  readonly base?: StoredDocument | undefined;
  /** The length of the document in bytes. */
  readonly length: number;
  /** The checksum of the whole document, as its sender computed it. */
  readonly crc32?: number | undefined;
  /** Returns the whole document, and assembles it if necessary. */
  bytes(): Promise<Uint8Array>;
  /** Reads the whole document into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
  /** Called when the document has been committed. */
  committed?(): void;
}

const totalLength = (document: DocumentParts): number => document.reduce((total, { length }) => total + length, 0);

/** Checks a change without the stored document. Returns its content and its profile for the fingerprint of the request. */
export async function changeArguments(
  change: SessionChange,
  context: StoreContext,
  field: string,
): Promise<Argument[]> {
  const profile = change.profile ?? "";
  if ("uploadId" in change) return argumentsOf<typeof change>({ uploadId: `upload ${change.uploadId}`, profile });
  if ("patch" in change) {
    checkPatch(change.patch, context, context.limits.documentBytes, `${field}.patch`);
    return argumentsOf<typeof change>({ patch: patchDigest(change.patch), profile });
  }
  checkSize(change.sessionSnapshot.length, context.limits.documentBytes, field, writeFailed);
  return argumentsOf<SessionDelta>({ sessionSnapshot: await sha256Yielding(change.sessionSnapshot), profile });
}

/** Up to this length, the JSON of an operation snapshot is an argument itself. */
const WHOLE_ARGUMENT_BYTES = 1 << 20;

/**
 * Checks a delta without the stored document. Returns its content for the fingerprint of the request. JSON has the same
 * fingerprint as the value that it is the canonical form of.
 */
export async function opsDeltaArguments(delta: OpsDelta, context: StoreContext): Promise<Argument[]> {
  const { operationSnapshotBytes } = context.limits;
  if ("uploadId" in delta) return ["upload", delta.uploadId];
  if ("patch" in delta) {
    checkPatch(delta.patch, context, operationSnapshotBytes, "ops_delta.patch");
    return ["patch", patchDigest(delta.patch)];
  }
  checkSize(delta.opsSnapshot.length, operationSnapshotBytes, "ops_delta", writeFailed);
  return opsArguments(delta.opsSnapshot);
}

export const opsArguments = async (json: Uint8Array): Promise<Argument[]> =>
  json.length <= WHOLE_ARGUMENT_BYTES ? [json] : ["sha256", await sha256Yielding(json)];

function checkPatch(
  { pieces, resultLength, resultCrc32 }: SnapshotPatch,
  { limits }: StoreContext,
  limit: number,
  field: string,
): void {
  checkSize(resultLength, limit, `${field}.result_length`, writeFailed);
  checkSize(pieces.length, limits.patchPieces, `${field}.pieces`, writeFailed, "pieces");
  const inserted = pieces.reduce((total, piece) => total + (piece instanceof Uint8Array ? piece.length : 0), 0);
  checkSize(inserted, limits.patchInsertBytes, `${field}.pieces`, writeFailed, "bytes of new content");
  const total = totalLength(pieces);
  if (total !== resultLength) {
    throw invalid(
      writeFailed,
      `${field}.result_length`,
      `${String(total)}, the length of the pieces`,
      String(resultLength),
    );
  }
  if (resultCrc32 >>> 0 !== resultCrc32) {
    throw invalid(writeFailed, `${field}.result_crc32`, "an unsigned 32-bit number", String(resultCrc32));
  }
}

/** Returns the SHA-256 of all fields of a patch, with the form of each piece, followed by the new bytes. */
function patchDigest({ baseVersion, resultLength, resultCrc32, pieces }: SnapshotPatch): Uint8Array {
  const fields: Record<keyof SnapshotPatch, unknown> = {
    baseVersion,
    resultLength,
    resultCrc32,
    pieces: pieces.map((piece) => (piece instanceof Uint8Array ? piece.length : [piece.offset, piece.length])),
  };
  const text = JSON.stringify(Object.values(fields).flat());
  const inserts = pieces.filter((piece): piece is Uint8Array => piece instanceof Uint8Array);
  return hash("sha256", Buffer.concat([Buffer.from(text, "utf8"), ...inserts]), "buffer");
}

/** Returns the new document of a change over the stored one. */
export function incomingOf(
  context: StoreContext,
  runtimeId: RuntimeId,
  change: SessionChange,
  field: string,
  stored: StoredDocument | undefined,
): Incoming {
  if ("sessionSnapshot" in change) return wholeDocument(change.sessionSnapshot);
  if ("uploadId" in change) return uploadedDocument(context, runtimeId, "session_snapshot", change.uploadId);
  return patchedDocument(context, runtimeId, change.patch, `${field}.patch`, stored);
}

/** Returns the new JSON of an operation snapshot over the stored one. */
export function incomingOps(
  context: StoreContext,
  runtimeId: RuntimeId,
  delta: OpsDelta,
  stored: StoredDocument | undefined,
): Incoming {
  if ("opsSnapshot" in delta) return wholeDocument(delta.opsSnapshot);
  if ("uploadId" in delta) return uploadedDocument(context, runtimeId, "ops_lifecycle", delta.uploadId);
  return patchedDocument(context, runtimeId, delta.patch, "ops_delta.patch", stored);
}

export const wholeDocument = (bytes: Uint8Array): Incoming => ({
  document: [bytes],
  length: bytes.length,
  bytes: () => Promise.resolve(bytes),
  readInto: (target) => copyYielding(bytes, target, 0),
});

function uploadedDocument(
  { uploads }: StoreContext,
  runtimeId: RuntimeId,
  record: DocumentRecord,
  uploadId: string,
): Incoming {
  const block = uploads.read(runtimeId, record, uploadId);
  return {
    // The memory of the block may change while a worker has it.
    get document() {
      return [block.bytes];
    },
    block,
    length: block.length,
    bytes: () => Promise.resolve(block.bytes),
    readInto: (target) => copyYielding(block.bytes, target, 0),
    committed: () => {
      uploads.use(uploadId);
    },
  };
}

function patchedDocument(
  context: StoreContext,
  runtimeId: RuntimeId,
  patch: SnapshotPatch,
  field: string,
  stored: StoredDocument | undefined,
): Incoming {
  const actual = stored && versionOf(context, stored.row);
  if (!stored || actual !== patch.baseVersion) {
    const text = `expected version ${patch.baseVersion} as the base of the patch, found ${actual ?? "none"}; send the whole document`;
    throw writeFailed("BASE_NOT_CURRENT", text, {
      runtimeId,
      record: `${field}.base_version`,
      expected: patch.baseVersion,
      actual: actual ?? "none",
    });
  }
  patch.pieces.forEach((piece, index) => {
    if (piece instanceof Uint8Array) return;
    if (piece.offset + piece.length > stored.facts.length) {
      const name = `${field}.pieces[${String(index)}].copy`;
      const end = String(piece.offset + piece.length);
      throw invalid(writeFailed, name, `inside the ${String(stored.facts.length)} bytes of the stored document`, end);
    }
  });
  const readInto = (target: Uint8Array): Promise<void> => stored.assemble(patch.pieces, target);
  const { inline } = stored.facts;
  return {
    // An engine has no document of a row whose value is the document.
    document: inline ? patch.pieces.map((piece) => partOf(inline, piece)) : patch.pieces,
    base: stored,
    length: patch.resultLength,
    crc32: patch.resultCrc32,
    readInto,
    bytes: () => inMemory(patch.resultLength, readInto),
  };
}

const partOf = (base: Uint8Array, part: DocumentPart): Uint8Array =>
  part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length);
