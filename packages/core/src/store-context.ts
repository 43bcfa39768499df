import type { Limits, RuntimeId, Version, Versioned } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { AnyMutation, Change, Committed, Committer } from "./commit/committer.js";
import type { RequestArguments } from "./commit/fingerprint.js";
import type { Engine, Row, RowKey } from "./engine.js";
import type { KeyedQueue } from "./commit/preparation.js";
import { ReadSet } from "./commit/read-set.js";
import { decodeRow } from "./commit/row.js";
import type { TranscriptChecker } from "./transcript/transcript-checker.js";
import type { Uploads } from "./documents/uploads.js";
import { type Fail, checkRuntimeId } from "./validate.js";
import { versionText } from "./commit/version.js";

/** What the operations of one store share. */
export interface StoreContext {
  readonly engine: Engine;
  readonly committer: Committer;
  readonly limits: Limits;
  /** Session-writing operations of one runtime pass one after the other from prepare to commit. */
  readonly sessions: KeyedQueue;
  readonly transcripts: TranscriptChecker;
  readonly uploads: Uploads;
  /** As in the store's options. */
  readonly reusesChunkBuffers: boolean;
}

/** Commits a change whose `decide` never misses. */
export async function commit<R extends AnyMutation>(context: StoreContext, change: Change<R>): Promise<Committed> {
  const committed = await context.committer.commit(change);
  if (!committed) throw new TypeError(`${change.method} has no expectation to miss`);
  return committed;
}

export function checkRuntime(context: StoreContext, runtimeId: RuntimeId, fail: Fail = writeFailed): RuntimeId {
  checkRuntimeId(runtimeId, context.limits, fail);
  return runtimeId;
}

export const versionOf = (context: StoreContext, row: Row): Version => versionText(context.engine.epoch, row.sequence);

/** One stored row in its model form. A form that cannot be read is damage, whatever wrote it. */
export async function loadRow<T>(
  context: StoreContext,
  key: RowKey,
  decode: (value: Uint8Array, row: Row) => T,
): Promise<Versioned<T> | undefined> {
  const row = await context.engine.view((view) => view.get(key));
  return row && { value: decodeRow(key, row, decode), version: versionOf(context, row) };
}

/** For mutations of one row whose new value does not depend on anything stored. */
export function singleRow<R extends AnyMutation>(
  method: string,
  request: R,
  args: RequestArguments<NoInfer<R>>,
  key: RowKey,
  value: Uint8Array | undefined,
): Change<R> {
  const reads = new ReadSet();
  const edits = [{ handle: reads.add(key), value }];
  return { method, request, args, reads, bytes: value?.length ?? 0, decide: () => edits };
}
