import { Metadata } from "@grpc/grpc-js";
import { OutcomeUnknownError, writeFailed } from "@bolthole/contract";
import { EXIT, failureOf } from "./exit-code.js";

test("an unknown outcome is a failure of the disk under an own store, and a missing answer of a daemon", () => {
  const ofDisk = Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_WRITE" });
  expect(failureOf(writeFailed("OUTCOME_UNKNOWN", "a write failed", { cause: ofDisk })).exitCode).toBe(EXIT.DISK);

  const ofGrpc = Object.assign(new Error("14 UNAVAILABLE"), { code: 14, metadata: new Metadata() });
  expect(failureOf(writeFailed("OUTCOME_UNKNOWN", "no answer", { cause: ofGrpc })).exitCode).toBe(EXIT.NOT_RUNNING);
  // The error of a daemon has no cause.
  const ofDaemon = writeFailed("OUTCOME_UNKNOWN", "a write failed");
  expect(failureOf(ofDaemon).exitCode).toBe(EXIT.NOT_RUNNING);
  expect(failureOf(new OutcomeUnknownError("id", "lost", ofDaemon)).exitCode).toBe(EXIT.NOT_RUNNING);
});
