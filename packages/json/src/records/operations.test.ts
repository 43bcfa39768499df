import { ID, errorOf } from "../testing/input-rows.js";
import { bytesOf, mismatch, stableResult, testVectors } from "../testing/vectors.js";
import { JsonError } from "../text/json-error.js";
import { canonicalRawJson } from "../text/canonical-json.js";
import { checkOpsSnapshot, readOpsSnapshot, writeOpsSnapshot } from "./operations.js";

// The reference writes its maps in random order, so the members of every object are sorted before the comparison.
testVectors("ops.jsonl", "operation snapshots are read and written as in the reference", (vector) => {
  const pass = (source: Uint8Array | string) => writeOpsSnapshot(readOpsSnapshot(source)).toString();
  return mismatch(vector, "sorted", () => canonicalRawJson(stableResult(pass(bytesOf(vector)), pass)));
});

testVectors("ops.jsonl", "a check refuses what a read refuses, with the same error", (vector) => {
  const source = bytesOf(vector);
  const problem = (work: () => unknown): string => {
    try {
      work();
      return "none";
    } catch (error) {
      return error instanceof JsonError ? error.message : "not a JsonError";
    }
  };
  const checked = problem(() => {
    checkOpsSnapshot(source);
  });
  const read = problem(() => readOpsSnapshot(source));
  return checked === read ? undefined : `expected ${read}, found ${checked}`;
});

test("a check of a long result finds a wrong escape and a lone surrogate in it", () => {
  const json = (content: string) =>
    `{"epoch_id":"${ID}","authority_state":{"operations":{},"completion_feed_entries":{"${ID}":{"seq":1,` +
    `"kind":"background_tool_op","terminal_outcome":{"outcome_type":"failed","error":"${content}"}}},` +
    '"completed_order":[],"max_completed":1,"active_count":0,"wait_operation_ids":[],"next_completion_seq":1},' +
    '"operation_specs":{},"completion_entries":[],' +
    '"cursors":{"agent_applied_cursor":0,"runtime_observed_seq":0,"runtime_last_injected_seq":0}}';
  const long = "x".repeat(5000);
  checkOpsSnapshot(Buffer.from(json(long)));
  for (const bad of [`${long}\\x`, `${long}\\ud800`, `${long}\n`]) {
    const source = Buffer.from(json(bad));
    const { message } = errorOf(() => readOpsSnapshot(source));
    expect(errorOf(() => checkOpsSnapshot(source)).message).toBe(message);
  }
});

test("an operation whose id is not a UUID is rejected with its name in the path", () => {
  const text = `{"epoch_id":"${ID}","authority_state":{"operations":{"x":{}}}}`;
  expect(errorOf(() => readOpsSnapshot(text)).path).toBe("authority_state.operations.x");
});
