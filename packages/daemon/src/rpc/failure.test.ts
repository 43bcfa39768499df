import { InvalidArgumentError } from "@bolthole/contract/wire";
import type { Log } from "../log.js";
import { storeErrorOfFailure } from "./failure.js";

function notes(): { log: Log; lines: unknown[] } {
  const lines: unknown[] = [];
  const error = (facts: unknown): void => {
    lines.push(facts);
  };
  return { log: { error } as unknown as Log, lines };
}

test("a fault of the program is told blandly, and logged with all that is known", () => {
  const { log, lines } = notes();
  const fault = new TypeError("a secret of the program");
  const told = storeErrorOfFailure(fault, "AtomicApply", true, log);
  expect(told).toMatchObject({ variant: "Internal", reason: "INTERNAL" });
  expect(told.message).not.toContain("secret");
  expect(lines).toEqual([{ method: "AtomicApply", err: fault }]);
});

test("a bad argument is a write failure of a change, a read failure of a load, and is not logged", () => {
  const { log, lines } = notes();
  const bad = new InvalidArgumentError("runtime_id", "a value", "none");
  expect(storeErrorOfFailure(bad, "AtomicApply", true, log)).toMatchObject({ variant: "WriteFailed", applied: "no" });
  expect(storeErrorOfFailure(bad, "LoadInputState", false, log)).toMatchObject({
    variant: "ReadFailed",
    subject: { record: "runtime_id", expected: "a value", actual: "none" },
  });
  expect(lines).toEqual([]);
});
