import { setImmediate } from "node:timers/promises";
import type { RunBoundaryReceipt, RuntimeId, SessionProfile, StoredInputState } from "@bolthole/json/model";
import type { Finding } from "./store-maintenance.js";
import type { RuntimeRequest } from "./versioned-store.js";

/**
 * A part of a runtime: one record, some bytes of one of its two documents, or some of its rows. Together, the parts are the
 * runtime as of one moment. The bytes of a document are in order. The input states are before the receipts; their ids ascend,
 * and so do the run ids and sequences of the receipts. Otherwise the parts may come in any order.
 */
export type RuntimePart =
  | { readonly kind: "session"; readonly profile: SessionProfile; readonly chunk: Uint8Array }
  /** A serialised `bolthole.v1.MachineLifecycleRecord` of any version (contract 3.2). */
  | { readonly kind: "lifecycle"; readonly record: Uint8Array }
  /** Some bytes of the JSON of the operation snapshot (contract 6.3). */
  | { readonly kind: "ops"; readonly chunk: Uint8Array }
  | { readonly kind: "inputs"; readonly inputs: readonly StoredInputState[] }
  | { readonly kind: "receipts"; readonly receipts: readonly RunBoundaryReceipt[] };

/** A part of an exported runtime, or the damage of a record that was left out, or of the runtime manifest. */
export type ExportedPart = RuntimePart | { readonly kind: "finding"; readonly finding: Finding };

export interface ExportRuntime extends RuntimeRequest {
  /** True: a damaged runtime is not refused. Its readable records are exported, and then the damage of the others. */
  readonly salvage?: boolean | undefined;
}

export interface ImportRuntime {
  readonly runtimeId: RuntimeId;
  /** All parts of the runtime, with at least one record. An error that it throws ends the import without a change. */
  readonly parts: AsyncIterable<RuntimePart>;
  /** True: stored records may be replaced. Stored rows that are not among the parts are then deleted. */
  readonly overwrite: boolean;
  /** True: all records are checked and compared, and nothing is written. */
  readonly dryRun: boolean;
}

/**
 * The results of an import, or of a dry run: "added", nothing was stored before; "replaced", other records were stored
 * and were replaced; "unchanged", the same records were stored already; "kept", other records are stored and stay, because
 * `overwrite` is false.
 */
export const IMPORT_RESULTS = ["added", "replaced", "unchanged", "kept"] as const;
export type ImportResult = (typeof IMPORT_RESULTS)[number];

/** The export and import of whole runtimes. The rows travel in pages, so that their number and their size have no limit. */
export interface RuntimeTransfer {
  /**
   * Returns all records of a runtime, or undefined when nothing is stored. Throws DAMAGED_RECORD when a record is not as it
   * was written, or is missing; damage of a row may be found in the middle of the stream, which then throws, and what was
   * received must be discarded. With `salvage`, returns every record that is readable, and after them one finding for each
   * damage. The stream throws BUSY when rows were written before all of them were read: export again.
   */
  exportRuntime(request: ExportRuntime): Promise<AsyncIterable<ExportedPart> | undefined>;

  /**
   * Writes all records of a runtime in one commit, or returns "kept" without a change. Each record is checked as in its own
   * mutation and throws the same errors, but a session is not compared with the stored one. Damage of the stored runtime
   * counts as a difference: with `overwrite` the runtime is replaced, and is not damaged afterwards. Throws INVALID_ARGUMENT when
   * the parts have no record, also in a dry run: use `deleteRuntime` to delete a runtime. Throws BUSY when the stored rows
   * changed while equal ones were received, which are not sent again: import again.
   */
  importRuntime(request: ImportRuntime): Promise<ImportResult>;
}

/** All records of one runtime in memory, as of one moment: for a runtime that is known to be small, and for tests. */
export interface RuntimeContents {
  readonly runtimeId: RuntimeId;
  readonly session: { readonly snapshot: Uint8Array; readonly profile: SessionProfile } | undefined;
  readonly lifecycle: Uint8Array | undefined;
  readonly ops: Uint8Array | undefined;
  readonly inputs: readonly StoredInputState[];
  readonly receipts: readonly RunBoundaryReceipt[];
}

/** The exported records of a runtime in memory. */
export interface ExportedRuntime extends RuntimeContents {
  /** The damage of the records that were left out, and of the runtime manifest. Empty unless the request has `salvage`. */
  readonly findings: readonly Finding[];
}

/** Returns the contents of a runtime without records. */
export const emptyContents = (runtimeId: RuntimeId): RuntimeContents => ({
  runtimeId,
  session: undefined,
  lifecycle: undefined,
  ops: undefined,
  inputs: [],
  receipts: [],
});

/** Exports a runtime into memory. */
export async function exportContents(
  transfer: Pick<RuntimeTransfer, "exportRuntime">,
  request: ExportRuntime,
): Promise<ExportedRuntime | undefined> {
  const parts = await transfer.exportRuntime(request);
  if (!parts) return undefined;
  const inputs: StoredInputState[] = [];
  const receipts: RunBoundaryReceipt[] = [];
  const findings: Finding[] = [];
  const records = new SingleRecords();
  for await (const part of parts) {
    switch (part.kind) {
      case "inputs":
        inputs.push(...part.inputs);
        break;
      case "receipts":
        receipts.push(...part.receipts);
        break;
      case "finding":
        findings.push(part.finding);
        break;
      case "session":
      case "lifecycle":
      case "ops":
        records.add(part);
    }
  }
  return { runtimeId: request.runtimeId, ...(await records.take()), inputs, receipts, findings };
}

/** The import of a runtime that is in memory. Its rows are in the order of their keys. */
export interface ImportContents extends Pick<ImportRuntime, "overwrite" | "dryRun"> {
  readonly contents: RuntimeContents;
}

/** Imports a runtime that is in memory. */
export const importContents = (
  transfer: Pick<RuntimeTransfer, "importRuntime">,
  { contents, overwrite, dryRun }: ImportContents,
): Promise<ImportResult> =>
  transfer.importRuntime({ runtimeId: contents.runtimeId, parts: partsOf(contents), overwrite, dryRun });

const PAGE_ROWS = 256;

/** Yields the parts of a runtime that is in memory. */
// eslint-disable-next-line @typescript-eslint/require-await -- the parts of other sources have to be waited for
export async function* partsOf({
  session,
  lifecycle,
  ops,
  inputs,
  receipts,
}: Omit<RuntimeContents, "runtimeId">): AsyncGenerator<RuntimePart, void> {
  if (session) {
    const { snapshot, profile } = session;
    for (const chunk of chunksOf(snapshot)) yield { kind: "session", profile, chunk };
  }
  if (lifecycle) yield { kind: "lifecycle", record: lifecycle };
  for (const chunk of ops ? chunksOf(ops) : []) yield { kind: "ops", chunk };
  for (let at = 0; at < inputs.length; at += PAGE_ROWS) {
    yield { kind: "inputs", inputs: inputs.slice(at, at + PAGE_ROWS) };
  }
  for (let at = 0; at < receipts.length; at += PAGE_ROWS) {
    yield { kind: "receipts", receipts: receipts.slice(at, at + PAGE_ROWS) };
  }
}

const CHUNK_BYTES = 1 << 20;

/** Yields the chunks of a document. An empty one has one chunk without bytes, because no chunk means that there is none. */
function* chunksOf(document: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start === 0 || start < document.length; start += CHUNK_BYTES) {
    yield document.subarray(start, start + CHUNK_BYTES);
  }
}

/** Collects the records of a runtime of which there is at most one each, from their parts. */
export class SingleRecords {
  private profile: SessionProfile | undefined;
  private lifecycle: Uint8Array | undefined;
  private readonly snapshot: Uint8Array[] = [];
  private readonly ops: Uint8Array[] = [];

  add(part: Extract<RuntimePart, { readonly kind: "session" | "lifecycle" | "ops" }>): void {
    switch (part.kind) {
      case "session":
        this.profile = part.profile;
        this.snapshot.push(part.chunk);
        break;
      case "lifecycle":
        this.lifecycle = part.record;
        break;
      case "ops":
        this.ops.push(part.chunk);
    }
  }

  /** Returns the records. Call it once, after the last part: the chunks are dropped. */
  async take(): Promise<Pick<RuntimeContents, "session" | "lifecycle" | "ops">> {
    const { profile, lifecycle } = this;
    const snapshot = await joined(this.snapshot);
    return { session: profile && snapshot && { snapshot, profile }, lifecycle, ops: await joined(this.ops) };
  }
}

/** How many bytes are copied before the event loop may run: a millisecond or two. */
const YIELD_BYTES = 2 << 20;

/** Returns the chunks as one document, and undefined without chunks. Drops each chunk when it has been copied. */
async function joined(chunks: Uint8Array[]): Promise<Uint8Array | undefined> {
  if (chunks.length === 0) return undefined;
  const document = Buffer.allocUnsafeSlow(chunks.reduce((total, { length }) => total + length, 0));
  let at = 0;
  let copied = 0;
  for (const [index, chunk] of chunks.entries()) {
    document.set(chunk, at);
    at += chunk.length;
    copied += chunk.length;
    chunks[index] = NO_BYTES;
    if (copied < YIELD_BYTES) continue;
    copied = 0;
    await setImmediate();
  }
  return document;
}

const NO_BYTES = Buffer.of();
