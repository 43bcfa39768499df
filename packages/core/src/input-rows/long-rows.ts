import { join } from "node:path";
import { type StoredInputState, readFailed, writeFailed } from "@bolthole/contract";
import { InvalidArgumentError } from "@bolthole/contract/wire";
import { JsonError } from "@bolthole/json";
import { WorkerPool } from "../worker-pool.js";
import type { LongRowJob, LongRowReply, RowFacts } from "./long-rows-worker.js";

/** A row of this size or above is converted on a worker: on the event loop it would take more than a few milliseconds. */
export const LONG_ROW_BYTES = 1 << 20;
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

/** Converts long input rows to and from JSON on a worker thread. Throws the errors of the conversions. */
export class LongRows {
  private readonly pool = new WorkerPool<LongRowJob, LongRowReply>({
    program: join(__dirname, "long-rows-worker.js"),
    size: 1,
    waitingText: "long input rows already wait for their conversion",
    endedText: "the worker that converted an input row ended before it returned the row",
  });

  /** Returns the canonical JSON of a row. */
  async write(state: StoredInputState): Promise<Uint8Array> {
    return (await this.writeJob({ state })).value;
  }

  /**
   * Returns the canonical JSON of a row in a serialised message, and what the rules need of the row. The memory of the message
   * belongs to the worker afterwards. Throws an `InvalidArgumentError` for bytes that are not a row.
   */
  writeMessage(message: Uint8Array<ArrayBuffer>): Promise<{ readonly value: Uint8Array; readonly facts: RowFacts }> {
    return this.writeJob({ message }, [message.buffer]);
  }

  private async writeJob(
    job: LongRowJob,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<{ readonly value: Uint8Array; readonly facts: RowFacts }> {
    const reply = resultOf(await this.pool.run((exchange) => exchange(job, transfer), writeFailed));
    if (!("value" in reply)) throw new TypeError("the worker returned no value for a row");
    const { value, facts } = reply;
    return { value: Buffer.from(value.buffer, value.byteOffset, value.length), facts };
  }

  /** Calls `task` when the worker is free, so that loads that wait hold no long values. Throws BUSY when too many wait. */
  whenFree<T>(task: (read: ReadLongRow) => Promise<T>): Promise<T> {
    return this.pool.run(
      (exchange) =>
        task(async (value, isExternal) => {
          const reply = resultOf(await exchange({ value, isExternal }, []));
          if (!("state" in reply)) throw new TypeError("the worker returned no row for a value");
          return reply.state;
        }),
      readFailed,
    );
  }
}

/** Returns the row of a stored value. `isExternal` says whether another program wrote it. */
export type ReadLongRow = (value: Uint8Array, isExternal: boolean) => Promise<StoredInputState>;

function resultOf(
  reply: LongRowReply,
): Exclude<LongRowReply, { readonly error: unknown } | { readonly invalid: unknown }> {
  if ("error" in reply) throw new JsonError(...reply.error);
  if ("invalid" in reply) {
    throw reply.invalid.map((field) => new InvalidArgumentError(...field)).reduce((all, one) => all.and(one));
  }
  return reply;
}
