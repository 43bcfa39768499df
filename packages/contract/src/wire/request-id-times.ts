import * as pb from "../gen/bolthole/v1/error_pb.js";
import type { RequestIdTimes } from "../request-ids.js";
import { message, roundedNumber } from "./message-codec.js";

/** The conversion of the times that a request id may have. */
export const requestIdTimes = message<typeof pb.RequestIdTimesSchema, RequestIdTimes>(pb.RequestIdTimesSchema, {
  horizonMs: roundedNumber,
  storeTimeMs: roundedNumber,
  latestMs: roundedNumber,
});
