import { ID, errorOf } from "../testing/input-rows.js";
import { bytesOf, mismatch, stableResult, testVectors } from "../testing/vectors.js";
import { canonicalRawJson } from "../text/canonical-json.js";
import { readOpsSnapshot, writeOpsSnapshot } from "./operations.js";

// The reference writes its maps in random order, so the members of every object are sorted before the comparison.
testVectors("ops.jsonl", "operation snapshots are read and written as in the reference", (vector) => {
  const pass = (source: Uint8Array | string) => writeOpsSnapshot(readOpsSnapshot(source)).toString();
  return mismatch(vector, "sorted", () => canonicalRawJson(stableResult(pass(bytesOf(vector)), pass)));
});

test("an operation whose id is not a UUID is rejected with its name in the path", () => {
  const text = `{"epoch_id":"${ID}","authority_state":{"operations":{"x":{}}}}`;
  expect(errorOf(() => readOpsSnapshot(text)).path).toBe("authority_state.operations.x");
});
