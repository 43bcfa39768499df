import type { ByteRange, DocumentPart } from "@bolthole/contract";
import { type DocumentParts, YieldBudget } from "@bolthole/core";
import { combineCrc32 } from "../checksum.js";
import { MAX_APPENDED_BYTES, MERGE_BELOW_BYTES, type NodeEntry } from "../node.js";
import {
  type TreePart,
  type TreeSlice,
  isMergeable,
  joinShortRuns,
  mapRuns,
  openBesideBytes,
  packBranches,
} from "./balance.js";
import { BaseSlices, SharedRanges } from "./base-slices.js";
import { type TreeBuilder, cutLeaves } from "./tree-builder.js";

/**
 * Builds the tree of a document and returns the entry of its root, or undefined for an empty document. Whole subtrees of
 * the base are reused. Only the branches and leaves at the edges of ranges are read, and small leaves beside new bytes,
 * which are merged with them: the cost does not grow with the document.
 */
export async function splice(
  builder: TreeBuilder,
  base: NodeEntry | undefined,
  document: DocumentParts,
): Promise<NodeEntry | undefined> {
  const budget = new YieldBudget();
  const open = (branch: NodeEntry): readonly NodeEntry[] => builder.open(branch);
  let parts = openBesideBytes(await treeParts(builder, base, document, budget), open);
  parts = await mapRuns(parts, 0, (run) => writeLeaves(builder, run, budget));
  for (let level = 0; parts.length > 1; level += 1) {
    parts = joinShortRuns(parts, level, open);
    // From here on every part is an entry.
    parts = await mapRuns(parts, level, (run) => packBranches(builder, run as NodeEntry[]));
  }
  return parts[0] as NodeEntry | undefined;
}

/** Returns the new bytes of the document, and the slices of the base for its ranges. */
async function treeParts(
  builder: TreeBuilder,
  base: NodeEntry | undefined,
  document: DocumentParts,
  budget: YieldBudget,
): Promise<TreePart[]> {
  const slices = new BaseSlices(builder, new SharedRanges(document));
  for (const part of joinRanges(document)) {
    if (part instanceof Uint8Array) {
      slices.parts.push(part);
    } else {
      // Core has compared the range with the length in the row, so a tree that is shorter than the range is damaged.
      if (!base || part.offset + part.length > base.length) throw builder.nodes.damaged();
      slices.add(base, part);
      await budget.spend();
    }
  }
  return slices.parts;
}

/** Drops empty parts, and joins ranges that follow one another directly. */
function* joinRanges(document: DocumentParts): Generator<DocumentPart> {
  let open: ByteRange | undefined;
  for (const part of document) {
    if (part.length === 0) continue;
    if (!(part instanceof Uint8Array) && open && open.offset + open.length === part.offset) {
      open = { offset: open.offset, length: open.length + part.length };
      continue;
    }
    if (open) yield open;
    open = part instanceof Uint8Array ? undefined : part;
    if (part instanceof Uint8Array) yield part;
  }
  if (open) yield open;
}

/**
 * Writes the new bytes of a run as leaves and returns the run as entries. As long as the new bytes are few, a small leaf
 * beside them is merged with them. All other leaves stay as they are.
 */
async function writeLeaves(builder: TreeBuilder, run: readonly TreePart[], budget: YieldBudget): Promise<TreeSlice[]> {
  const leaves: TreeSlice[] = [];
  /** New bytes, and bytes of merged leaves, that are not written yet. */
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  const defer = (bytes: Uint8Array): void => {
    pending.push(bytes);
    pendingBytes += bytes.length;
  };
  for (const part of run) {
    if (part instanceof Uint8Array) {
      const before = pending.length === 0 ? leaves.at(-1) : undefined;
      if (before && isMergeable(before) && part.length < MERGE_BELOW_BYTES) {
        defer(builder.nodes.bytes(leaves.pop() as TreeSlice));
      }
      defer(part);
    } else if (pending.length > 0 && pendingBytes < MERGE_BELOW_BYTES && isMergeable(part)) {
      defer(builder.nodes.bytes(part));
    } else {
      if (pending.length > 0) await writePending(part);
      add(part);
    }
  }
  if (pending.length > 0) await writePending(undefined);
  return leaves;

  async function writePending(after: TreeSlice | undefined): Promise<void> {
    // Short bytes between two shared slices are likely to stay. Elsewhere the next change rewrites a small leaf anyway.
    const isLasting = leaves.at(-1)?.isShared && after?.isShared && pendingBytes <= MAX_APPENDED_BYTES;
    if (isLasting) {
      const target = leaves.findLast(({ isShared = false, length }) => !isShared && length <= MAX_APPENDED_BYTES);
      builder.append(target, Buffer.concat(pending)).forEach(add);
    } else {
      for (const bytes of cutLeaves(pending)) {
        add(builder.addLeaf(bytes));
        await budget.spend();
      }
    }
    [pending, pendingBytes] = [[], 0];
  }

  /** Adds a leaf. Adjacent ranges of one leaf become one entry. */
  function add(leaf: TreeSlice): void {
    const before = leaves.at(-1);
    if (before?.id !== leaf.id || before.offset + before.length !== leaf.offset) {
      leaves.push(leaf);
      return;
    }
    const [length, crc] = [before.length + leaf.length, combineCrc32(before.crc32, leaf.crc32, leaf.length)];
    const isShared = before.isShared === true || leaf.isShared === true;
    leaves[leaves.length - 1] = { ...before, length, crc32: crc, isShared };
  }
}
