import type { Finding, RuntimeId } from "@bolthole/contract";
import { type DocumentRowKey, type DocumentParts, ReadSet, type StagedDocument } from "@bolthole/core";
import { checkDocuments } from "../document-tree/read/check.js";
import { Environment } from "../environment.js";
import { DOCUMENT_KEYS, documentBounds } from "../keys.js";
import type { LmdbEngine } from "../lmdb-engine.js";

export const snapshotKey = (runtimeId: RuntimeId): DocumentRowKey => ({ table: "snapshot", runtimeId });

/** Commits a staged document, or deletes the stored one, and returns the number of the commit. */
export const commitDocument = (
  engine: LmdbEngine,
  runtimeId: RuntimeId,
  staged: StagedDocument | undefined,
): Promise<number> => {
  const reads = new ReadSet();
  const handle = reads.add(snapshotKey(runtimeId));
  return engine.commit({
    reads,
    bytes: staged?.bytes ?? 0,
    decide: (_rows, sequence) => {
      const row = staged && { sequence, checksum: 0, value: Buffer.from(String(staged.crc32)) };
      return { writes: [{ handle, row, document: staged }], result: sequence, freesSpace: staged === undefined };
    },
  });
};

export const storedSequence = (engine: LmdbEngine, runtimeId: RuntimeId): Promise<number | undefined> =>
  engine.view(async (view) => (await view.get(snapshotKey(runtimeId)))?.sequence);

/** Stages a document over the stored one and commits it. Returns the number of the commit. */
export async function replaceDocument(
  engine: LmdbEngine,
  runtimeId: RuntimeId,
  document: DocumentParts,
): Promise<number> {
  const staged = await engine.stage(snapshotKey(runtimeId), await storedSequence(engine, runtimeId), document);
  return commitDocument(engine, runtimeId, staged);
}

export async function readDocument(engine: LmdbEngine, runtimeId: RuntimeId): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await engine.view((view) => view.document(snapshotKey(runtimeId))))
    chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Checks the documents of a folder that no engine has open, and counts the values of their key space. */
export async function inspect(folder: string): Promise<{ findings: Finding[]; values: number }> {
  const environment = new Environment(folder);
  const transaction = environment.read();
  try {
    const findings: Finding[] = [];
    for await (const finding of checkDocuments(transaction)) findings.push(finding);
    let values = 0;
    for (const kind of Object.keys(DOCUMENT_KEYS) as (keyof typeof DOCUMENT_KEYS)[]) {
      const { start, end } = documentBounds(kind);
      values += [...transaction.keys(start, end)].length;
    }
    return { findings, values };
  } finally {
    transaction.done();
    await environment.close();
  }
}
