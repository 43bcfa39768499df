import { IdCounter } from "../counter.js";
import { ROW_SPACE_ID_KEY, pointerKey, spaceGarbageKey } from "../keys.js";
import { SpaceChanges } from "./space-changes.js";
import { decodePointer, encodeOwner } from "./space-records.js";

const GARBAGE = spaceGarbageKey("rt", 0);
const POINTER = pointerKey("rt").toString("hex");

/** Returns the changes of a transaction over a runtime with this row space, whose default row space is empty garbage. */
function changesOver(space: number): SpaceChanges {
  return new SpaceChanges({
    get: (key) => (key.equals(GARBAGE) ? encodeOwner(GARBAGE, "rt") : undefined),
    spaceOf: () => space,
    isEmpty: (_runtimeId, number) => number !== 7,
    usePointers: () => undefined,
    ids: new IdCounter(ROW_SPACE_ID_KEY, 1),
  });
}

/** Returns the row space that the pointer of the runtime names after the transaction; 0 when the pointer is deleted. */
function pointed(changes: SpaceChanges): number | undefined {
  const put = changes
    .puts()
    .filter(([key]) => key.toString("hex") === POINTER)
    .at(-1);
  if (!put) return undefined;
  return put[1] ? decodePointer(put[0], put[1])?.space : 0;
}

test("an emptied runtime gets a new row space while its default one is garbage, and its default one afterwards", () => {
  const before = changesOver(7);
  before.plan("rt", undefined)();
  expect(pointed(before)).toBe(1);
  expect(before.spaceOf("rt")).toBe(1);
  // The record of the default row space is deleted earlier in the same transaction.
  const after = changesOver(7);
  after.planRemoval("rt")?.();
  after.finish(GARBAGE);
  after.plan("rt", undefined)();
  expect(pointed(after)).toBe(0);
});

test("the pointer to an empty row space is removed, unless the transaction has used the row space", () => {
  const unused = changesOver(8);
  unused.planRemoval("rt")?.();
  expect(pointed(unused)).toBe(0);
  expect(unused.spaceOf("rt")).toBe(0);
  const used = changesOver(8);
  expect(used.spaceOf("rt")).toBe(8);
  expect(used.planRemoval("rt")).toBeUndefined();
  expect(pointed(used)).toBeUndefined();
  const full = changesOver(7);
  full.planRemoval("rt")?.();
  expect(pointed(full)).toBeUndefined();
});

test("a replaced row space becomes garbage, also twice in one transaction", () => {
  const changes = changesOver(7);
  changes.plan("rt", 20)();
  changes.plan("rt", 21)();
  expect(pointed(changes)).toBe(21);
  expect(changes.garbage).toEqual([spaceGarbageKey("rt", 7), spaceGarbageKey("rt", 20)]);
});
