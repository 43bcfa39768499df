import type { KeyOf, RowKey } from "@bolthole/core";

/** The rows that have a table of the reference's. */
export type ReferenceKey = KeyOf<"snapshot" | "lifecycle" | "ops" | "input" | "receipt" | "oauth">;
export type ReferenceTable = ReferenceKey["table"];

interface Place {
  readonly table: string;
  readonly keys: readonly string[];
  readonly value: string;
}

/** Where each kind of row lies (section 9.1). */
export const PLACES: Readonly<Record<ReferenceTable, Place>> = {
  snapshot: { table: "runtime_session_snapshots", keys: ["runtime_id"], value: "session_snapshot" },
  lifecycle: { table: "runtime_states", keys: ["runtime_id"], value: "runtime_state_json" },
  ops: { table: "runtime_ops_lifecycle", keys: ["runtime_id"], value: "state_json" },
  input: { table: "runtime_input_states", keys: ["runtime_id", "input_id"], value: "state_json" },
  receipt: {
    table: "runtime_boundary_receipts",
    keys: ["runtime_id", "run_id", "sequence"],
    value: "receipt_json",
  },
  oauth: { table: "runtime_auth_oauth_flow_state", keys: ["id"], value: "state_json" },
};

export const isReferenceKey = (key: RowKey): key is ReferenceKey => key.table in PLACES;

const OAUTH_ID = "auth_oauth_flow_state";
const MAX_SEQUENCE = 2n ** 63n - 1n;

/** Higher sequences share the highest key that SQLite has, as in the reference (sections 4 and 14.5). */
export const clamped = (sequence: bigint): bigint => (sequence > MAX_SEQUENCE ? MAX_SEQUENCE : sequence);

/** The key's columns, in the order of its place. */
export function keyColumns(key: ReferenceKey): (string | bigint)[] {
  switch (key.table) {
    case "input":
      return [key.runtimeId, key.inputId];
    case "receipt":
      return [key.runtimeId, key.runId, clamped(key.sequence)];
    case "oauth":
      return [OAUTH_ID];
    case "snapshot":
    case "lifecycle":
    case "ops":
      return [key.runtimeId];
  }
}
