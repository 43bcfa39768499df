import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { RuntimeId } from "@bolthole/contract";
import type { ReadTransaction } from "../environment.js";
import {
  type DocumentKey,
  documentBounds,
  documentKey,
  numberOf,
  parseRuntimeKey,
  runtimeBounds,
  snapshotKeyBeside,
} from "../keys.js";
import { decodeRecord } from "../record.js";
import { decodeGarbage } from "./garbage.js";
import { IdSet } from "./id-set.js";
import { type NodeEntry, type NodeName, decodeBranch, entryOf } from "./node.js";
import { decodeCount } from "./reference-counts.js";
import { decodeStaging } from "./staging.js";

/** What is wrong with the stored documents, or not finished. */
export interface DocumentFinding {
  /**
   * `damaged` and `missing`: a document cannot be read. `miscounted`: a node may be taken away too early, or never.
   * `orphan`: space that nothing names. `unfinished`: a record of work that goes on, or goes on at the next start.
   */
  readonly kind: "damaged" | "missing" | "miscounted" | "orphan" | "unfinished";
  /** Absent where it cannot be told. */
  readonly runtimeId?: RuntimeId | undefined;
  readonly text: string;
}

/** So many nodes are looked at before the event loop gets a turn. */
const SLICE_NODES = 32;
const SLICE_KEYS = 4096;

/**
 * Checks the documents of a whole environment in one consistent state: every node is there, is what was written, and is
 * named exactly as often as it is counted; nothing else lies among them. Reads all of it once, and gives the event loop
 * turns. Whoever calls it ends the transaction, and should not let it grow old while much is written.
 */
export async function* checkDocuments(
  transaction: ReadTransaction,
  /** So many bytes were read. */
  onRead?: (bytes: number) => void,
): AsyncGenerator<DocumentFinding, void> {
  yield* new DocumentCheck(transaction, onRead).run();
}

class DocumentCheck {
  /** Everything that a document, a garbage record or a staging record accounts for. */
  private readonly known = new IdSet();
  private looked = 0;

  constructor(
    private readonly transaction: ReadTransaction,
    private readonly onRead: ((bytes: number) => void) | undefined,
  ) {}

  async *run(): AsyncGenerator<DocumentFinding, void> {
    const dropped = new Map<RuntimeId, NodeName[]>();
    yield* this.garbage(dropped);
    yield* this.staging();
    for (const { runtimeId, root } of this.roots()) {
      yield* this.runtime(runtimeId, root, dropped.get(runtimeId) ?? []);
      dropped.delete(runtimeId);
    }
    // Of runtimes whose document was cleared.
    for (const [id, nodes] of dropped) yield* this.runtime(id, undefined, nodes);
    yield* this.orphans();
  }

  /** Of every stored snapshot: jumps over the other rows of its runtime. */
  private *roots(): Generator<{ readonly runtimeId: RuntimeId; readonly root: NodeEntry | undefined }, void> {
    let { start } = runtimeBounds(undefined);
    const { end } = runtimeBounds(undefined);
    for (;;) {
      const [first] = this.transaction.keys(start, end);
      if (!first) return;
      const snapshot = this.transaction.get(snapshotKeyBeside(first));
      const parsed = parseRuntimeKey(first);
      if (snapshot) {
        const { root, runtimeId = "" } = decodeRecord(snapshot);
        yield { runtimeId: parsed.runtimeId ?? runtimeId, root };
      }
      start = parsed.afterRuntime;
    }
  }

  /** Nodes are never shared between runtimes, so each is counted by itself. */
  private async *runtime(
    runtimeId: RuntimeId,
    root: NodeEntry | undefined,
    dropped: readonly NodeName[],
  ): AsyncGenerator<DocumentFinding, void> {
    const named = new Map<number, number>();
    const ahead: (NodeEntry | NodeName)[] = [...dropped];
    if (root) ahead.push(root);
    for (let next = ahead.pop(); next; next = ahead.pop()) {
      if (++this.looked % SLICE_NODES === 0) await setImmediate();
      const { id } = next;
      const times = named.get(id) ?? 0;
      named.set(id, times + 1);
      const value = this.transaction.get(documentKey("node", id));
      if (!value) {
        yield { kind: "missing", runtimeId, text: `node ${id} is missing` };
        continue;
      }
      this.onRead?.(value.length);
      const children = next.level > 0 ? decodeBranch(next, value) : [];
      if (!children || !isNamedRightly(next, value, children)) {
        yield { kind: "damaged", runtimeId, text: `node ${id} is not what was written` };
      }
      // What a node names is counted once, however often the node itself is named.
      if (children && times === 0) ahead.push(...children);
    }
    for (const [id, times] of named) {
      const key = documentKey("count", id);
      const count = this.transaction.get(key);
      const counted = count ? decodeCount(key, count) : 1;
      if (counted !== times) {
        yield {
          kind: "miscounted",
          runtimeId,
          text: `node ${id} is named ${times} times and counted ${counted} times`,
        };
      }
      if (!this.known.add(id)) yield { kind: "damaged", runtimeId, text: `node ${id} is another runtime's too` };
    }
  }

  private *garbage(dropped: Map<RuntimeId, NodeName[]>): Generator<DocumentFinding, void> {
    for (const { key, value } of this.all("garbage")) {
      const garbage = decodeGarbage(key, value);
      if (!garbage) {
        yield { kind: "damaged", text: `the garbage record of commit ${numberOf(key)} is not what was written` };
        continue;
      }
      const { runtimeId } = garbage;
      yield { kind: "unfinished", runtimeId, text: `what commit ${numberOf(key)} dropped is not reclaimed yet` };
      const nodes = dropped.get(runtimeId) ?? [];
      for (const node of garbage.dropped) {
        if (node.isDead) this.known.add(node.id);
        else nodes.push(node);
      }
      dropped.set(runtimeId, nodes);
    }
  }

  private *staging(): Generator<DocumentFinding, void> {
    for (const { key, value } of this.all("staging")) {
      const range = decodeStaging(key, value);
      if (!range) {
        yield { kind: "damaged", text: `the staging record ${numberOf(key)} is not what was written` };
        continue;
      }
      yield { kind: "unfinished", text: `a document with nodes from ${range.first} on is not committed` };
      for (let id = range.first; id < range.end; id += 1) this.known.add(id);
    }
  }

  private async *orphans(): AsyncGenerator<DocumentFinding, void> {
    for (const id of this.ids("node")) {
      if (++this.looked % SLICE_KEYS === 0) await setImmediate();
      if (!this.known.has(id)) yield { kind: "orphan", text: `nothing names node ${id}` };
    }
    for (const id of this.ids("count")) {
      if (!this.known.has(id)) yield { kind: "orphan", text: `node ${id} is only counted` };
    }
  }

  private all(kind: DocumentKey): ReturnType<ReadTransaction["range"]> {
    const { start, end } = documentBounds(kind);
    return this.transaction.range(start, end);
  }

  private *ids(kind: DocumentKey): Generator<number, void> {
    const { start, end } = documentBounds(kind);
    for (const key of this.transaction.keys(start, end)) yield numberOf(key);
  }
}

/** What names a node without saying more is a garbage record. */
function isNamedRightly(name: NodeEntry | NodeName, value: Buffer, children: readonly NodeEntry[]): boolean {
  if (!("crc32" in name)) return true;
  if (name.level > 0) {
    const { length, crc32 } = entryOf(name.id, children);
    return length === name.length && crc32 === name.crc32;
  }
  const stretch = value.subarray(name.offset, name.offset + name.length);
  return stretch.length === name.length && crc32(stretch) === name.crc32;
}
