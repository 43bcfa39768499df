import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { StoreError, internal, readFailed, writeFailed } from "@bolthole/contract";
import { InvalidArgumentError, STATUS_DETAILS_KEY, toWireStatus } from "@bolthole/contract/wire";
import { damageKey, reportDamage } from "../known-damage.js";
import type { Log } from "../log.js";

/**
 * Returns the store error that the caller receives for a thrown value. A defect of the daemon is logged completely, and the caller
 * receives a general text without its details.
 */
export function storeErrorOfFailure(error: unknown, method: string, isMutation: boolean, log: Log): StoreError {
  if (error instanceof StoreError) {
    const { reason, text, subject } = error;
    if (reason === "INTERNAL") log.error({ method, err: error }, "call failed");
    const { runtimeId, record = "" } = subject;
    // One line for a record, and not one for each load of it.
    if (reason === "DAMAGED_RECORD" && log.isNew(damageKey(runtimeId, record))) {
      reportDamage(log, { method, record }, { runtimeId, text });
    }
    return error;
  }
  const fail = isMutation ? writeFailed : readFailed;
  if (error instanceof InvalidArgumentError) {
    const { field, expected, actual } = error;
    return fail("INVALID_ARGUMENT", error.message, { record: field, expected, actual });
  }
  log.error({ method, err: error }, "call failed because of a defect of the daemon");
  return internal("unexpected failure in the daemon; its log has the details");
}

/** Returns the gRPC status of a store error, with its details in the trailer. */
export function toStatus(error: StoreError): StatusObject {
  const { code, message, details } = toWireStatus(error);
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, Buffer.from(details));
  return { code, details: message, metadata };
}
