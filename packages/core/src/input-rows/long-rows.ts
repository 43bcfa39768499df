import { join } from "node:path";
import { type Fail, type StoredInputState, readFailed, writeFailed } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";
import { WorkerPool } from "../worker-pool.js";
import type { LongRowJob, LongRowReply } from "./long-rows-worker.js";

/** A row of this size or above is converted on a worker: on the event loop it would take more than a few milliseconds. */
const LONG_ROW_BYTES = 1 << 20;
/** The estimated size of one entry of a row's history in canonical JSON. */
const ENTRY_BYTES = 100;

/** Whether the canonical JSON of a row is long, by an estimate. */
export function isLongRow({
  persistedInput,
  idempotencyKey,
  history,
  reconstructionSource,
}: StoredInputState): boolean {
  let length = (persistedInput?.length ?? 0) + (idempotencyKey?.length ?? 0) + history.length * ENTRY_BYTES;
  if (reconstructionSource?.kind === "coalescing") length += reconstructionSource.sourceInputIds.length * ENTRY_BYTES;
  if (reconstructionSource?.kind === "projection") {
    length += reconstructionSource.ruleId.length + reconstructionSource.sourceEventId.length;
  }
  for (const { reason } of history) length += reason?.length ?? 0;
  return length >= LONG_ROW_BYTES;
}

/** Whether the value of a row is long. */
export const isLongValue = (value: Uint8Array): boolean => value.length >= LONG_ROW_BYTES;

/** Converts long input rows to and from JSON on a worker thread. Throws a `JsonError` as the conversions themselves do. */
export class LongRows {
  private readonly pool = new WorkerPool<LongRowJob, LongRowReply>({
    program: join(__dirname, "long-rows-worker.js"),
    size: 1,
    waitingText: "long input rows already wait for their conversion",
    endedText: "the worker that converted an input row ended before it returned the row",
  });

  /** Returns the canonical JSON of a row. */
  async write(state: StoredInputState): Promise<Uint8Array> {
    const reply = await this.convert({ state }, writeFailed);
    if (!("value" in reply)) throw new TypeError("the worker returned no value for a row");
    return Buffer.from(reply.value.buffer, reply.value.byteOffset, reply.value.length);
  }

  /** Returns the row of a stored value. `isExternal` says whether another program wrote it. */
  async read(value: Uint8Array, isExternal: boolean): Promise<StoredInputState> {
    const reply = await this.convert({ value, isExternal }, readFailed);
    if (!("state" in reply)) throw new TypeError("the worker returned no row for a value");
    return reply.state;
  }

  private async convert(job: LongRowJob, fail: Fail): Promise<LongRowReply> {
    const reply = await this.pool.run((exchange) => exchange(job, []), fail);
    if ("error" in reply) throw new JsonError(...reply.error);
    return reply;
  }
}
