import type { StoredInputState } from "@bolthole/contract";
import { isSameRow } from "./same-row.js";

const INSTANT = "2026-05-28T15:31:27.123456789Z";

/** Every field has a value here: one that is added to the rows has to be added here too. */
const row = (): Required<StoredInputState> => ({
  inputId: "0198f0a0-0001-7000-8000-000000000001",
  currentState: "consumed",
  policy: {
    version: 1n,
    decision: {
      applyMode: "inject_now",
      wakeMode: "none",
      queueMode: "fifo",
      consumePoint: "on_apply",
      drainPolicy: "immediate",
      routingDisposition: "queue",
      recordTranscript: true,
      emitOperatorContent: false,
      policyVersion: 1n,
    },
  },
  runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
  terminalOutcome: { kind: "consumed" },
  durability: "durable",
  idempotencyKey: "key",
  attemptCount: 1,
  recoveryCount: 1,
  history: [{ timestamp: INSTANT, from: "accepted", to: "queued", reason: "because" }],
  reconstructionSource: { kind: "coalescing", sourceInputIds: ["0198f0a0-0001-7000-8000-000000000002"] },
  persistedInput: "{}",
  lastRunId: "0198f0a0-0003-7000-8000-000000000001",
  lastBoundarySequence: 1n,
  admissionSequence: 1n,
  recoveryLane: "queue",
  createdAt: INSTANT,
  updatedAt: INSTANT,
});

const fields = Object.keys(row()) as (keyof StoredInputState)[];

test("a row built anew of the same values is the same", () => {
  expect(isSameRow(row(), row())).toBe(true);
});

test.each(fields)("another %s makes another row", (field) => {
  expect(isSameRow(row(), { ...row(), [field]: changed(row()[field]) })).toBe(false);
});

test.each(["timestamp", "from", "to", "reason"])("another %s in the history makes another row", (field) => {
  const [entry] = row().history;
  expect(isSameRow(row(), { ...row(), history: [{ ...entry, [field]: "other" }] as never })).toBe(false);
  expect(isSameRow(row(), { ...row(), history: [] })).toBe(false);
  expect(isSameRow({ ...row(), history: [] }, row())).toBe(false);
});

function changed(value: unknown): unknown {
  if (typeof value === "bigint") return value + 1n;
  if (typeof value === "number") return value + 1;
  if (typeof value === "string") return `${value}!`;
  if (Array.isArray(value)) return [...(value as unknown[]), ...(value as unknown[])];
  return { ...(value as object), kind: "other" };
}
