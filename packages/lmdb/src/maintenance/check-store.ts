import { setImmediate } from "node:timers/promises";
import type { Finding, FindingCode, StoreCounts } from "@bolthole/contract";
import { StoreAudit } from "@bolthole/core";
import { type DocumentFinding, checkDocuments } from "../document-tree/check";
import type { ReadTransaction } from "../environment";
import { readIdentity } from "../format";
import { IDENTITY_KEY, NODE_ID_KEY, SEQUENCE_KEY, documentBounds, numberOf, parseKey, rowBounds } from "../keys";
import { decodeRecord } from "../record";

/** After so many bytes of rows the event loop gets a turn. */
const SLICE_BYTES = 1 << 20;

const DOCUMENT_CODES: Readonly<Record<DocumentFinding["kind"], FindingCode>> = {
  damaged: "document-damaged",
  missing: "document-missing",
  miscounted: "document-miscounted",
  orphan: "document-orphan",
  unfinished: "document-unfinished",
};

/** What a check goes by, and how far it has come. */
export interface CheckWatch {
  readonly onFinding: (finding: Finding) => void;
  /** About how many bytes were read since the last call. */
  readonly onRead?: (bytes: number) => void;
}

/** Reads everything in one consistent state, and answers how much is there. */
export async function checkStore(transaction: ReadTransaction, watch: CheckWatch): Promise<StoreCounts> {
  const audit = new StoreAudit();
  const tell = (findings: readonly Finding[]): void => {
    findings.forEach(watch.onFinding);
  };
  const { start, end } = rowBounds();
  let lastCommit = 0;
  let bytes = 0;
  for (const { key, value } of transaction.range(start, end)) {
    const row = decodeRecord(value);
    const parsed = parseKey(key, row.runtimeId);
    lastCommit = Math.max(lastCommit, row.sequence);
    if (parsed) tell(audit.take({ key: parsed, row, document: row.root }));
    else tell([{ code: "row-strange", text: `a row lies under the key ${key.toString("hex")}, which no table has` }]);
    bytes += key.length + value.length;
    if (bytes < SLICE_BYTES) continue;
    watch.onRead?.(bytes);
    bytes = 0;
    await setImmediate();
  }
  watch.onRead?.(bytes);
  tell(audit.end());
  tell(numbersOf(transaction, lastCommit));
  for await (const { kind, runtimeId, text } of checkDocuments(transaction, watch.onRead)) {
    const record = runtimeId === undefined ? undefined : "session snapshot";
    watch.onFinding({ code: DOCUMENT_CODES[kind], runtimeId, record, text });
  }
  return audit.counts;
}

/** The few values that are no rows: a wrong one would give a number a second time. */
function numbersOf(transaction: ReadTransaction, lastCommit: number): Finding[] {
  const findings: Finding[] = [];
  const differs = (text: string): number => findings.push({ code: "store-differs", text });
  const identity = transaction.get(IDENTITY_KEY);
  if (!identity || !readIdentity(identity)) differs("the store has lost its identity");
  const isCounter = (value: Buffer | undefined, atLeast: number): boolean => {
    const counter = value?.length === 8 ? value.readDoubleLE() : value ? Number.NaN : 0;
    return Number.isSafeInteger(counter) && counter >= atLeast;
  };
  if (!isCounter(transaction.get(SEQUENCE_KEY), lastCommit)) {
    differs(`the number of the last commit is not what it was; commit ${String(lastCommit)} left rows`);
  }
  if (!isCounter(transaction.get(NODE_ID_KEY), lastNode(transaction) + 1)) {
    differs("the number for the next node of a document is not what it was");
  }
  return findings;
}

function lastNode(transaction: ReadTransaction): number {
  const { start, end } = documentBounds("node");
  const last = transaction.lastKey(start, end);
  return last ? numberOf(last) : -1;
}
