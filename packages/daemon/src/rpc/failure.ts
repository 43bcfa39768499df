import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { StoreError, internal, readFailed, writeFailed } from "@bolthole/contract";
import { InvalidArgumentError, STATUS_DETAILS_KEY, toWireStatus } from "@bolthole/contract/wire";
import type { Log } from "../log.js";

/** Whatever was thrown as the store error that the caller gets: a fault of ours is told blandly, and logged in full. */
export function storeErrorOfFailure(error: unknown, method: string, isMutation: boolean, log: Log): StoreError {
  if (error instanceof StoreError) {
    if (error.reason === "INTERNAL" || error.reason === "DAMAGED_RECORD")
      log.error({ method, err: error }, "call failed");
    return error;
  }
  const fail = isMutation ? writeFailed : readFailed;
  if (error instanceof InvalidArgumentError) {
    const { field, expected, actual } = error;
    return fail("INVALID_ARGUMENT", error.message, { record: field, expected, actual });
  }
  log.error({ method, err: error }, "call failed by a fault of the daemon");
  return internal("the daemon failed; its log says more");
}

/** The status that ends the call. */
export function toStatus(error: StoreError): StatusObject {
  const { code, message, details } = toWireStatus(error);
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, Buffer.from(details));
  return { code, details: message, metadata };
}
