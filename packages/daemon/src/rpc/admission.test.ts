import { StoreError } from "@bolthole/contract";
import { Admission } from "./admission.js";

/** How an entry is refused. */
function refusal(enter: () => unknown): StoreError | undefined {
  try {
    enter();
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
  return undefined;
}

const never = new AbortController().signal;

test("what would be too much is refused as BUSY, and let in again when others have left", () => {
  const admission = new Admission({ requests: 2, bytes: 100 });
  const leave = admission.enter(60);
  expect(refusal(() => admission.enter(41))).toMatchObject({ reason: "BUSY", retry: "same_request" });
  admission.enter(40);
  expect(refusal(() => admission.enter(0))).toMatchObject({ reason: "BUSY" });
  leave();
  expect([admission.requests, admission.bytes]).toEqual([1, 40]);
  admission.enter(60);
});

test("a drain lets nobody in, and ends when everybody has left", async () => {
  const admission = new Admission({ requests: 9, bytes: 100 });
  const leave = admission.enter(1);
  const drained = admission.drain(never);
  expect(refusal(() => admission.enter(1))).toMatchObject({ reason: "SHUTTING_DOWN", applied: "no" });
  leave();
  expect(await drained).toBe(true);
});

test("a drain that is given up says so", async () => {
  const admission = new Admission({ requests: 9, bytes: 100 });
  admission.enter(1);
  const giveUp = new AbortController();
  const drained = admission.drain(giveUp.signal);
  giveUp.abort();
  expect(await drained).toBe(false);
});
