import type { RuntimeId, RuntimePart, SingleRecords } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { PlainRow } from "../commit/row-set.js";
import { compareKeys } from "../commit/row.js";
import type { RowSetKey } from "../engine.js";
import { checkedRow } from "../input-rows/checked-rows.js";
import type { StoreContext } from "../store-context.js";
import { invalid } from "../validate.js";
import { YieldBudget } from "../yield-budget.js";
import { receiptRow } from "./boundary.js";

/**
 * Yields the rows of an import as they arrive, each checked by the rules of the mutation that would store it alone, in the order
 * of their keys. Adds all other records to `records`. Throws INVALID_ARGUMENT when the rows have another order.
 */
export async function* receivedRows(
  context: Pick<StoreContext, "limits" | "longRows">,
  runtimeId: RuntimeId,
  parts: AsyncIterable<RuntimePart>,
  records: Pick<SingleRecords, "add">,
): AsyncGenerator<PlainRow<RowSetKey>, void> {
  const { limits, longRows } = context;
  const rules = { runtimeId, limits, longRows };
  const order = new RowOrder();
  const budget = new YieldBudget();
  for await (const part of parts) {
    switch (part.kind) {
      case "inputs":
        for (const state of part.inputs) {
          const row = checkedRow(rules, state, order.field("input"));
          yield order.next(row instanceof Promise ? await row : row);
          const wait = budget.spend();
          if (wait) await wait;
        }
        break;
      case "receipts":
        for (const receipt of part.receipts) {
          yield order.next(receiptRow(runtimeId, receipt));
          const wait = budget.spend();
          if (wait) await wait;
        }
        break;
      case "session":
      case "lifecycle":
      case "ops":
        records.add(part);
    }
  }
}

/** Checks the order of rows, and numbers them for errors. */
class RowOrder {
  private last: RowSetKey | undefined;
  private readonly counts = { input: 0, receipt: 0 };

  /** Returns the name of the next row of a table. */
  field(table: RowSetKey["table"]): string {
    return `${table === "input" ? "inputs" : "receipts"}[${String(this.counts[table])}]`;
  }

  /** Returns the row. Throws INVALID_ARGUMENT when it must be before another one that was received. */
  next(row: PlainRow<RowSetKey>): PlainRow<RowSetKey> {
    const { key } = row;
    const { last } = this;
    if (last && compareKeys(last, key) >= 0) throw this.outOfOrder(last, key);
    this.last = key;
    this.counts[key.table] += 1;
    return row;
  }

  private outOfOrder(last: RowSetKey, key: RowSetKey): Error {
    const field = this.field(key.table);
    if (key.table === "input") {
      if (last.table === "input") {
        const expected = `an id after ${last.inputId}, because the input states are in ascending order of their ids`;
        return invalid(writeFailed, `${field}.input_id`, expected, key.inputId);
      }
      return invalid(writeFailed, field, "all input states before the first receipt", "one after a receipt");
    }
    const after = last.table === "receipt" ? `${last.runId} ${last.sequence.toString()}` : "";
    const expected = `a run id and sequence after ${after}, because the receipts are in ascending order of both`;
    return invalid(writeFailed, field, expected, `${key.runId} ${key.sequence.toString()}`);
  }
}
