import { readFileSync } from "node:fs";
import { join } from "node:path";
import { vectorsFolder } from "@bolthole/conformance";
import { type RuntimeStore, StoreError, loadRuntimeState } from "@bolthole/contract";
import {
  canonicalRawJson,
  writeInputState,
  writeMachineLifecycle,
  writeOpsSnapshot,
  writeReceipt,
} from "@bolthole/json";
import { decodeLifecycleRecord } from "@bolthole/contract/wire";

interface Result {
  readonly ok?: unknown;
  readonly err?: unknown;
}

/** The contents of one runtime as the reference loads it (recorded vectors). */
export interface ExpectedRuntime {
  readonly runtime_id: string;
  readonly session_snapshot: Result;
  readonly machine_lifecycle_record: Result;
  readonly runtime_state: Result;
  readonly ops_lifecycle: Result;
  readonly input_states: Result;
  readonly input_state: readonly { readonly input_id: string; readonly result: Result }[];
  readonly boundary_receipt: readonly {
    readonly run_id: string;
    readonly sequence_key: string;
    readonly result: Result;
  }[];
}

export interface ExpectedDatabase {
  readonly auth_oauth_flow_snapshot: Result;
  readonly runtimes: readonly ExpectedRuntime[];
}

const vectors = vectorsFolder(__dirname);

/** The folder of the databases that the reference wrote, or undefined without recorded vectors. Tests must not change it. */
export const databases = vectors === undefined ? undefined : join(vectors, "sqlite");

/** Returns the contents that the reference loads from one of these databases. */
export const expectedOf = (name: string): ExpectedDatabase =>
  JSON.parse(readFileSync(join(databases ?? "", `${name}.expected.json`), "utf8")) as ExpectedDatabase;

/** Performs the same loads on another store and returns the results in the same form. */
export async function loadsOf(store: RuntimeStore, { runtimes }: ExpectedDatabase): Promise<ExpectedDatabase> {
  const loaded: ExpectedRuntime[] = [];
  for (const { runtime_id: id, input_state, boundary_receipt } of runtimes) {
    loaded.push({
      runtime_id: id,
      session_snapshot: await resultOf(async () => text(await store.loadSessionSnapshot(id))),
      machine_lifecycle_record: await resultOf(async () => {
        const record = await store.loadMachineLifecycleRecord(id);
        return text(record && writeMachineLifecycle(decodeLifecycleRecord(record)));
      }),
      runtime_state: await resultOf(async () => (await loadRuntimeState(store, id)) ?? null),
      ops_lifecycle: await resultOf(async () => {
        const snapshot = await store.loadOpsLifecycle(id);
        return text(snapshot && writeOpsSnapshot(snapshot));
      }),
      input_states: await resultOf(async () =>
        (await store.loadInputStates(id)).map((row) => writeInputState(row).toString()),
      ),
      input_state: await Promise.all(
        input_state.map(async ({ input_id }) => ({
          input_id,
          result: await resultOf(async () => {
            const row = await store.loadInputState(id, input_id);
            return text(row && writeInputState(row));
          }),
        })),
      ),
      boundary_receipt: await Promise.all(
        boundary_receipt.map(async ({ run_id, sequence_key }) => ({
          run_id,
          sequence_key,
          result: await resultOf(async () => {
            const receipt = await store.loadBoundaryReceipt(id, run_id, BigInt(sequence_key));
            return text(receipt && writeReceipt(receipt));
          }),
        })),
      ),
    });
  }
  return {
    auth_oauth_flow_snapshot: await resultOf(async () => text(await store.loadAuthOauthFlowSnapshot())),
    runtimes: loaded,
  };
}

/** Returns the parts that are compared. Excluded: the order of maps in operation snapshots, and the texts of errors. */
export const comparable = ({ auth_oauth_flow_snapshot, runtimes }: ExpectedDatabase): unknown => [
  auth_oauth_flow_snapshot,
  runtimes.map((runtime) => ({
    runtime_id: runtime.runtime_id,
    session_snapshot: runtime.session_snapshot,
    machine_lifecycle_record: plain(runtime.machine_lifecycle_record),
    runtime_state: plain(runtime.runtime_state),
    ops_lifecycle: sorted(plain(runtime.ops_lifecycle)),
    input_states: plain(runtime.input_states),
    input_state: runtime.input_state.map((one) => ({ ...one, result: plain(one.result) })),
    boundary_receipt: runtime.boundary_receipt.map((one) => ({ ...one, result: plain(one.result) })),
  })),
];

const text = (bytes: Uint8Array | undefined): unknown => (bytes ? { text: Buffer.from(bytes).toString("utf8") } : null);

const plain = (result: Result): Result =>
  result.err === undefined ? result : { err: (result.err as { variant: unknown }).variant };

const sorted = (result: Result): Result => {
  const ok = result.ok as { text?: string } | null | undefined;
  return ok?.text === undefined ? result : { ok: canonicalRawJson(ok.text) };
};

async function resultOf(load: () => Promise<unknown>): Promise<Result> {
  try {
    return { ok: await load() };
  } catch (error) {
    if (error instanceof StoreError) return { err: { variant: error.variant } };
    throw error;
  }
}
