import { crc32 } from "node:zlib";
import type { Finding, RuntimeId } from "@bolthole/contract";
import { RuntimeAudit, damageOf, difference, storeDiffers } from "../audit/store-audit.js";
import { EMPTY_STORE_MANIFEST, STORE_MANIFEST_KEY, decodeStoreManifest, updateDigest } from "../commit/manifests.js";
import { describeKey, isSameRow } from "../commit/row.js";
import { decodeSnapshotFacts, joined } from "../documents/stored-document.js";
import { type Engine, type Row, type RowEntry, type RowRange, type View, pagesOf } from "../engine.js";
import type { Pace } from "./pace.js";

/*
 * The reads of a scrub. Each reads slice by slice in short views, so that it does not keep commits from freeing space.
 */

/** The rows of one slice of a runtime. An input row may have a megabyte. */
const RUNTIME_SLICE_ROWS = 16;
/** The form of longer values is not checked, because that would block the event loop. Their checksum shows any damage. */
const FORM_BYTES = 64 << 10;

/** Reads a slice in a separate view, or in one view for all slices. */
type Read = <T>(read: (view: View) => Promise<T>) => Promise<T>;

/**
 * Checks the rows of a runtime, and compares them with the runtime manifest. Slices show one state as long as the manifest
 * stays the same. When it changes, all rows are read once more in a single view.
 */
export async function scrubRows(engine: Engine, runtimeId: RuntimeId, pace: Pace): Promise<Finding[]> {
  const inSlices = await readRows(
    (read) => engine.view(read),
    runtimeId,
    pace,
    () => pace.rest(),
  );
  if (inSlices) return inSlices;
  const inOneView = await engine.view((view) =>
    readRows(
      (read) => read(view),
      runtimeId,
      pace,
      () => Promise.resolve(),
    ),
  );
  await pace.rest();
  return inOneView ?? [];
}

/** Returns undefined when the runtime changed between two slices. */
async function readRows(
  read: Read,
  runtimeId: RuntimeId,
  pace: Pace,
  rest: () => Promise<void>,
): Promise<Finding[] | undefined> {
  const audit = new RuntimeAudit(runtimeId, FORM_BYTES);
  const findings: (Finding | undefined)[] = [];
  let first: Slice | undefined;
  for (let from: SliceRange | undefined; ;) {
    const slice = await read((view) => readSlice(view, runtimeId, from));
    if (first && !isSameRow(first.manifest, slice.manifest)) return undefined;
    if (!first) {
      first = slice;
      // The runtime was cleared after its id was read.
      if (!slice.manifest && slice.entries.length === 0) return [];
      if (slice.manifest) findings.push(audit.take({ table: "runtimeManifest", runtimeId }, slice.manifest));
    }
    for (const { key, row } of slice.entries) {
      findings.push(audit.take(key, row));
      await pace.spend(row.value.length);
    }
    await rest();
    if (!slice.next) break;
    from = slice.next;
  }
  return [...findings.filter((finding) => finding !== undefined), ...audit.end()];
}

type SliceRange = Extract<RowRange, { readonly table: "input" | "receipt" }>;

interface Slice {
  readonly manifest: Row | undefined;
  readonly entries: readonly RowEntry[];
  /** The range of the next slice. */
  readonly next?: SliceRange;
}

async function readSlice(view: View, runtimeId: RuntimeId, from: SliceRange | undefined): Promise<Slice> {
  const manifest = await view.get({ table: "runtimeManifest", runtimeId });
  const entries: RowEntry[] = [];
  if (!from) {
    for (const table of ["snapshot", "lifecycle", "ops"] as const) {
      const key = { table, runtimeId };
      const row = await view.get(key);
      if (row) entries.push({ key, row });
    }
  }
  if (from?.table !== "receipt") {
    const after = from?.after;
    const inputs = await view.scan({ table: "input", runtimeId, after }, RUNTIME_SLICE_ROWS - entries.length);
    entries.push(...inputs);
    if (entries.length === RUNTIME_SLICE_ROWS) {
      return { manifest, entries, next: { table: "input", runtimeId, after: inputs.at(-1)?.key } };
    }
  }
  const after = from?.table === "receipt" ? from.after : undefined;
  const receipts = await view.scan({ table: "receipt", runtimeId, after }, RUNTIME_SLICE_ROWS - entries.length);
  entries.push(...receipts);
  if (entries.length < RUNTIME_SLICE_ROWS) return { manifest, entries };
  return { manifest, entries, next: { table: "receipt", runtimeId, after: receipts.at(-1)?.key } };
}

/** The bytes of a document in one slice, which may have to be read from the disk. */
const DOCUMENT_SLICE_BYTES = 256 << 10;

/**
 * Reads the session document of a runtime slice by slice. The engine finds damaged and missing parts in each slice. When
 * another document is stored in between, the reading continues in that one. The whole document is compared with its row only
 * when all slices were of one document.
 */
export async function scrubDocument(engine: Engine, runtimeId: RuntimeId, pace: Pace): Promise<Finding[]> {
  const key = { table: "snapshot", runtimeId } as const;
  const differs = (text: string): Finding[] => [
    { code: "document-differs", runtimeId, record: describeKey(key), text },
  ];
  let first: number | undefined;
  let isOneDocument = true;
  let offset = 0;
  let checksum = 0;
  for (;;) {
    const slice = await engine.view(async (view) => {
      const row = await view.get(key);
      // A damaged row is reported with the other rows.
      if (!row || damageOf(key, row)) return undefined;
      const facts = decodeSnapshotFacts(row.value);
      const document = await view.document(runtimeId, { offset, length: DOCUMENT_SLICE_BYTES });
      return { sequence: row.sequence, facts, bytes: await joined(document, DOCUMENT_SLICE_BYTES) };
    });
    if (!slice) return [];
    const { sequence, facts, bytes } = slice;
    first ??= sequence;
    isOneDocument &&= sequence === first;
    const expected = Math.min(DOCUMENT_SLICE_BYTES, Math.max(0, facts.length - offset));
    if (bytes.length !== expected) {
      const found = bytes.length < expected ? String(offset + bytes.length) : "more";
      return differs(`expected a document of ${String(facts.length)} bytes, found ${found}`);
    }
    checksum = crc32(bytes, checksum);
    offset += bytes.length;
    await pace.spend(bytes.length);
    await pace.rest();
    if (bytes.length === DOCUMENT_SLICE_BYTES) continue;
    return isOneDocument && checksum !== facts.crc32
      ? differs("its document does not match the checksum of its row")
      : [];
  }
}

/** The outcomes of one slice. An outcome has about a hundred bytes. */
const OUTCOME_SLICE_ROWS = 64;

/**
 * Checks the rows that belong to no runtime. The numbers of outcomes and runtimes are not compared with the store manifest:
 * they change with every commit, so that this would take a single view of the whole store.
 */
export async function scrubStoreRows(engine: Engine, pace: Pace): Promise<Finding[]> {
  const findings = await scrubManifestAndOauth(engine, pace);
  await pace.rest();
  const viewOfEachPage: Pick<View, "scan"> = {
    scan: (range, limit, bytes) => engine.view((view) => view.scan(range, limit, bytes)),
  };
  for await (const page of pagesOf(viewOfEachPage, { table: "outcome" }, OUTCOME_SLICE_ROWS)) {
    for (const { key, row } of page) {
      const damage = damageOf(key, row);
      if (damage) findings.push(damage);
      await pace.spend(row.value.length);
    }
    await pace.rest();
  }
  return findings;
}

async function scrubManifestAndOauth(engine: Engine, pace: Pace): Promise<Finding[]> {
  const oauthKey = { table: "oauth" } as const;
  const { manifest, oauth } = await engine.view(async (view) => ({
    manifest: await view.get(STORE_MANIFEST_KEY),
    oauth: await view.get(oauthKey),
  }));
  await pace.spend((manifest?.value.length ?? 0) + (oauth?.value.length ?? 0));
  const manifestDamage = manifest && damageOf(STORE_MANIFEST_KEY, manifest);
  const oauthDamage = oauth && damageOf(oauthKey, oauth);
  const findings = [manifestDamage, oauthDamage].filter((finding) => finding !== undefined);
  if (manifestDamage) return findings;
  const stored = manifest ? decodeStoreManifest(manifest.value) : EMPTY_STORE_MANIFEST;
  // A damaged row is reported already, and its checksum may be what is damaged.
  if (oauthDamage) return findings;
  const text = difference("oauth", stored.oauth, updateDigest(EMPTY_STORE_MANIFEST.oauth, undefined, oauth));
  return text === undefined ? findings : [...findings, storeDiffers(text)];
}
