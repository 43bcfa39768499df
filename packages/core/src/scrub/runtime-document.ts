import { crc32 } from "node:zlib";
import type { Finding, RuntimeId } from "@bolthole/contract";
import { damageOf } from "../audit/row-audit.js";
import { describeKey } from "../commit/row.js";
import type { Engine } from "../engine.js";
import { decodeSnapshotFacts } from "../documents/snapshot-facts.js";
import { stretch } from "../documents/stored-document.js";
import type { Pace } from "./pace.js";

/** Of a document in one look; what it holds may have to come from the disk. */
const PIECE_BYTES = 256 << 10;

/**
 * Reads the session document of a runtime piece by piece, each in a view of its own, so that nothing keeps commits from taking
 * away what they replace. The engine finds what is damaged or missing in each piece. Where another document takes its place meanwhile, the reading goes
 * on in that one; the whole is compared with what its row says when it was one document from the beginning to the end.
 */
export async function scrubDocument(engine: Engine, runtimeId: RuntimeId, pace: Pace): Promise<Finding[]> {
  const key = { table: "snapshot", runtimeId } as const;
  const differs = (text: string): Finding[] => [
    { code: "document-differs", runtimeId, record: describeKey(key), text },
  ];
  let first: number | undefined;
  let isOne = true;
  let offset = 0;
  let checksum = 0;
  for (;;) {
    const piece = await engine.view(async (view) => {
      const row = await view.get(key);
      // Nothing is there, or its row is damaged: who reads the rows says so.
      if (!row || damageOf(key, row)) return undefined;
      const facts = decodeSnapshotFacts(row.value);
      const document = await view.document(runtimeId, { offset, length: PIECE_BYTES });
      return { sequence: row.sequence, facts, bytes: await stretch(document, PIECE_BYTES) };
    });
    if (!piece) return [];
    const { sequence, facts, bytes } = piece;
    first ??= sequence;
    isOne &&= sequence === first;
    const wanted = Math.min(PIECE_BYTES, Math.max(0, facts.length - offset));
    if (bytes.length !== wanted) {
      return differs(`${String(facts.length)} bytes belong to the snapshot, its document has others`);
    }
    checksum = crc32(bytes, checksum);
    offset += bytes.length;
    await pace.spend(bytes.length);
    await pace.rest();
    if (bytes.length === PIECE_BYTES) continue;
    return isOne && checksum !== facts.crc32 ? differs("its document is another one than its row says") : [];
  }
}
