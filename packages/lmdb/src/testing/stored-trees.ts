import type { ByteRange, Finding, RuntimeId } from "@bolthole/contract";
import type { DocumentParts } from "@bolthole/core";
import { splice } from "../document-tree/build/splice.js";
import { type StagedTree, stageTree } from "../document-tree/build/staged-tree.js";
import { TreeBuilder } from "../document-tree/build/tree-builder.js";
import type { NodeEntry } from "../document-tree/node.js";
import { checkDocuments } from "../document-tree/read/check.js";
import { NodeReader } from "../document-tree/read/node-reader.js";
import { Walk } from "../document-tree/read/walk.js";
import { reclaimGarbage } from "../document-tree/reclaim/reclaimer.js";
import { TreeChanges } from "../document-tree/reclaim/tree-changes.js";
import type { Put, ReadTransaction } from "../environment.js";
import { IdCounter } from "../counter.js";
import { NODE_ID_KEY, documentBounds, encodeKey } from "../keys.js";
import { decodeRecord, encodeRecord } from "../record.js";

/** The values of an environment in memory, changed by the code of the document trees alone, without an engine. */
export class StoredTrees {
  readonly values = new Map<string, Buffer>();
  sequence = 0;
  private readonly ids = new IdCounter(NODE_ID_KEY, 1);
  private readonly garbage: Buffer[] = [];

  get(key: Buffer): Buffer | undefined {
    return this.values.get(key.toString("latin1"));
  }

  peek(key: Buffer): Buffer | undefined {
    return this.get(key);
  }

  root(runtimeId: RuntimeId): NodeEntry | undefined {
    return this.row(runtimeId)?.root;
  }

  async stage(runtimeId: RuntimeId, document: DocumentParts): Promise<StagedTree> {
    const row = this.row(runtimeId);
    const builder = new TreeBuilder(new NodeReader(this, { table: "snapshot", runtimeId }));
    return stageTree(builder, await splice(builder, row?.root, document), row?.sequence, this.ids);
  }

  async replace(runtimeId: RuntimeId, document: DocumentParts): Promise<StagedTree> {
    const staged = await this.stage(runtimeId, document);
    this.commit(runtimeId, staged);
    return staged;
  }

  /** Commits a staged document, or deletes the stored one. */
  commit(runtimeId: RuntimeId, staged: StagedTree | undefined): void {
    const sequence = ++this.sequence;
    const changes = new TreeChanges(this, this.ids);
    changes.replace(sequence, changes.plan(runtimeId, this.root(runtimeId), staged));
    const row = { sequence, checksum: 0, value: Buffer.of(), root: staged?.root, runtimeId: undefined };
    changes.put(encodeKey({ table: "snapshot", runtimeId }), staged && encodeRecord(row));
    this.write(changes.puts());
    this.garbage.push(...changes.garbage.map(({ key }) => key));
  }

  /** Reclaims at most `budget` nodes of the oldest garbage record. Returns false when there is no record. */
  reclaim(budget: number): boolean {
    const [key] = this.garbage;
    if (!key) return false;
    const changes = new TreeChanges(this, this.ids);
    if (reclaimGarbage(changes, key, budget) < budget) this.garbage.shift();
    this.write(changes.puts());
    return true;
  }

  read(runtimeId: RuntimeId, range?: ByteRange): Buffer {
    const walk = new Walk(new NodeReader(this, { table: "snapshot", runtimeId }), this.root(runtimeId), range);
    const chunks: Buffer[] = [];
    while (!walk.isDone) chunks.push(walk.take(50_000));
    return Buffer.concat(chunks);
  }

  async findings(): Promise<Finding[]> {
    const findings: Finding[] = [];
    for await (const finding of checkDocuments(transactionOver(this.values))) findings.push(finding);
    return findings;
  }

  /** Returns how many values of a kind are stored. */
  count(kind: Parameters<typeof documentBounds>[0]): number {
    const { start, end } = documentBounds(kind);
    return [...transactionOver(this.values).keys(start, end)].length;
  }

  /** Returns the total size of all values of a kind. */
  bytes(kind: Parameters<typeof documentBounds>[0]): number {
    const { start, end } = documentBounds(kind);
    return [...transactionOver(this.values).range(start, end)].reduce((sum, { value }) => sum + value.length, 0);
  }

  private row(runtimeId: RuntimeId): ReturnType<typeof decodeRecord> | undefined {
    const record = this.get(encodeKey({ table: "snapshot", runtimeId }));
    return record && decodeRecord(record);
  }

  private write(puts: readonly Put[]): void {
    for (const [key, value] of puts) {
      if (value) this.values.set(key.toString("latin1"), Buffer.from(value));
      else this.values.delete(key.toString("latin1"));
    }
  }
}

function transactionOver(values: ReadonlyMap<string, Buffer>): ReadTransaction {
  const sorted = [...values.keys()].sort();
  const keys = (start: Buffer, end: Buffer): Buffer[] =>
    sorted
      .filter((key) => key >= start.toString("latin1") && key < end.toString("latin1"))
      .map((key) => Buffer.from(key, "latin1"));
  return {
    get: (key) => values.get(key.toString("latin1")),
    keys,
    lastKey: (start, end) => keys(start, end).at(-1),
    range: (start, end) =>
      keys(start, end).map((key) => ({ key, value: values.get(key.toString("latin1")) ?? Buffer.of() })),
    done: () => undefined,
  };
}
