import { setImmediate } from "node:timers/promises";
import type { Finding, StoreCounts } from "@bolthole/contract";
import { type CheckListener, StoreAudit } from "@bolthole/core";
import { checkDocuments } from "../document-tree/read/check.js";
import { counterProblem, nextIdFacts } from "../counter.js";
import { lastNodeId } from "../document-tree/document-trees.js";
import type { ReadTransaction } from "../environment.js";
import { readIdentity } from "../format.js";
import { IDENTITY_KEY, NODE_ID_KEY, ROW_SPACE_ID_KEY, SEQUENCE_KEY } from "../keys.js";
import { RowWalk } from "../row-spaces/space-check.js";

/** The check lets the event loop run other work after this many bytes of rows. */
const YIELD_AFTER_BYTES = 1 << 20;

/**
 * Reads everything in one consistent state: every row with its key, checksum and form, the manifests, the counters and
 * all documents. Reports findings and progress to the listener, and returns how much is stored.
 */
export async function checkStore(
  transaction: ReadTransaction,
  { onFinding, onRead }: Omit<CheckListener, "signal">,
): Promise<StoreCounts> {
  const audit = new StoreAudit();
  const report = (findings: readonly Finding[]): void => {
    findings.forEach(onFinding);
  };
  const walk = new RowWalk(transaction);
  let lastCommit = 0;
  let bytes = 0;
  for (const { storedKey, key, row, bytes: read } of walk.rows()) {
    if (key) {
      const found = audit.take({ key, row, document: row.root });
      report(found);
      // A damaged sequence may be any number.
      if (!found.some(({ code }) => code === "row-damaged")) lastCommit = Math.max(lastCommit, row.sequence);
    } else
      report([
        { code: "row-strange", text: `a row is stored under the key ${storedKey.toString("hex")}, which no table has` },
      ]);
    bytes += read;
    if (bytes < YIELD_AFTER_BYTES) continue;
    onRead?.(bytes);
    bytes = 0;
    await setImmediate();
  }
  onRead?.(bytes);
  report(audit.end());
  report(walk.findings());
  report(counterFindings(transaction, lastCommit, walk.lastSpaceId));
  for await (const finding of checkDocuments(transaction, onRead)) onFinding(finding);
  return audit.counts;
}

/** Checks the values that are not rows. With a wrong counter, a number would be used a second time. */
function counterFindings(transaction: ReadTransaction, lastCommit: number, lastSpaceId: number): Finding[] {
  const findings: Finding[] = [];
  const report = (text: string): number => findings.push({ code: "store-differs", text });
  const identity = transaction.get(IDENTITY_KEY);
  if (!identity || !readIdentity(identity)) {
    report(`the identity of the store is ${identity ? "damaged" : "missing"}`);
  }
  const counters = [
    { key: SEQUENCE_KEY, name: "last commit", atLeast: lastCommit },
    nextIdFacts(NODE_ID_KEY, "next document node", lastNodeId(transaction)),
    nextIdFacts(ROW_SPACE_ID_KEY, "next row space", lastSpaceId),
  ];
  for (const facts of counters) {
    const problem = counterProblem(facts, transaction.get(facts.key));
    if (problem !== undefined) report(problem);
  }
  return findings;
}
