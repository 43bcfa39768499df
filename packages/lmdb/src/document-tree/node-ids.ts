import type { Put } from "../environment.js";
import { NODE_ID_KEY } from "../keys.js";
import type { NodeSource } from "./node-reader.js";
import type { IdRange } from "./staged-tree.js";

/**
 * Numbers for new nodes. Every transaction that stores a node stores the counter too, so that no id that was ever on the
 * disk is given again; ids that a crash took from memory were never there.
 */
export class NodeIds {
  private constructor(private next: number) {}

  static load(source: NodeSource): NodeIds {
    return new NodeIds(source.get(NODE_ID_KEY)?.readDoubleLE() ?? 1);
  }

  take(count: number): IdRange {
    const first = this.next;
    this.next += count;
    return { first, end: this.next };
  }

  put(): Put {
    const value = Buffer.allocUnsafe(8);
    value.writeDoubleLE(this.next);
    return [NODE_ID_KEY, value];
  }
}
