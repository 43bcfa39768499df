import { MACHINE_LIFECYCLE_RECORD_VERSION, writeFailed } from "@bolthole/contract";
import { inspectLifecycleRecord } from "@bolthole/contract/wire";
import { invalid } from "../validate.js";

/** A record is stored as it comes, once it is of version 1 and names a known state (section 14.12). */
export function checkLifecycleRecord(record: Uint8Array): void {
  const { recordVersion, runtimeState } = inspectLifecycleRecord(record);
  if (recordVersion !== MACHINE_LIFECYCLE_RECORD_VERSION) {
    throw writeFailed(
      "UNSUPPORTED_RECORD_VERSION",
      `unsupported machine lifecycle store record version ${String(recordVersion)}`,
      {
        record: "record.record_version",
        expected: String(MACHINE_LIFECYCLE_RECORD_VERSION),
        actual: String(recordVersion),
      },
    );
  }
  if (runtimeState === undefined) throw invalid(writeFailed, "record.runtime_state", "a known runtime state");
}
