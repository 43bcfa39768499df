import { type StoreError, readFailed } from "@bolthole/contract";
import { InvalidArgumentError } from "@bolthole/contract/wire";
import type { Log } from "../log.js";
import { storeErrorOfFailure } from "./failure.js";

function recordingLog(): { log: Log; lines: unknown[] } {
  const lines: unknown[] = [];
  const error = (facts: unknown): void => {
    lines.push(facts);
  };
  const keys = new Set<string>();
  const isNew = (key: string): boolean => keys.size < keys.add(key).size;
  const debug = (): void => undefined;
  return { log: { error, debug, isNew } as unknown as Log, lines };
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

test("a damaged record is logged once, without the id of its runtime, and not at each load", () => {
  const { log, lines } = recordingLog();
  const damaged = (runtimeId: string): StoreError =>
    readFailed("DAMAGED_RECORD", `stored row of ${runtimeId} is damaged`, { runtimeId, record: "input state 1" });
  for (let load = 0; load < 5; load += 1) storeErrorOfFailure(damaged("secret-a"), "LoadInputState", false, log);
  expect(lines).toEqual([{ method: "LoadInputState", record: "input state 1" }]);
  storeErrorOfFailure(damaged("secret-b"), "LoadInputState", false, log);
  expect(lines).toHaveLength(2);
});
