import { InvalidArgumentError } from "@bolthole/contract/wire";
import type { Log } from "../log.js";
import { storeErrorOfFailure } from "./failure.js";

function recordingLog(): { log: Log; lines: unknown[] } {
  const lines: unknown[] = [];
  const error = (facts: unknown): void => {
    lines.push(facts);
  };
  return { log: { error } as unknown as Log, lines };
}

test("a defect of the daemon is logged completely, and the caller receives no details", () => {
  const { log, lines } = recordingLog();
  const defect = new TypeError("a secret of the program");
  const error = storeErrorOfFailure(defect, "AtomicApply", true, log);
  expect(error).toMatchObject({ variant: "Internal", reason: "INTERNAL" });
  expect(error.message).not.toContain("secret");
  expect(lines).toEqual([{ method: "AtomicApply", err: defect }]);
});

test("an invalid argument is a write failure of a change and a read failure of a load, and is not logged", () => {
  const { log, lines } = recordingLog();
  const bad = new InvalidArgumentError("runtime_id", "a value", "none");
  expect(storeErrorOfFailure(bad, "AtomicApply", true, log)).toMatchObject({ variant: "WriteFailed", applied: "no" });
  expect(storeErrorOfFailure(bad, "LoadInputState", false, log)).toMatchObject({
    variant: "ReadFailed",
    subject: { record: "runtime_id", expected: "a value", actual: "none" },
  });
  expect(lines).toEqual([]);
});
