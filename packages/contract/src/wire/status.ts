import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyIs, anyPack, anyUnpack, durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Applied, GrpcStatus, Retry, StoreErrorReason, StoreErrorVariant } from "../error-reasons.js";
import { GRPC_STATUS, STORE_ERROR_REASONS, STORE_ERROR_VARIANTS } from "../error-reasons.js";
import * as pb from "../gen/bolthole/v1/error_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
import { StoreError } from "../store-error.js";
import { enumeration } from "./message-codec.js";
import { requestIdTimes } from "./request-id-times.js";

/** The trailer that gRPC libraries of every language read the details of an error from. */
export const STATUS_DETAILS_KEY = "grpc-status-details-bin";

/** The `domain` of the `google.rpc.ErrorInfo` that accompanies every store error. */
export const ERROR_DOMAIN = "bolthole.v1";

/*
 * The limits of the texts of an error. All trailers of a response must have less than 8 KiB, or clients of some languages (Python)
 * report RESOURCE_EXHAUSTED instead of our error. The message stands in a trailer of its own, where every byte may take three,
 * and the details are in Base64.
 */

/** The longest message in its trailer, in bytes of its encoded form. */
const ENCODED_MESSAGE_BYTES = 2048;

/** The longest message in the details, in bytes. */
const MESSAGE_BYTES = 1536;

/** The longest text of an error in its details, in bytes. */
const TEXT_BYTES = 768;

/** The longest other field of the details, in bytes. */
const FIELD_BYTES = 288;

const appliedTexts: readonly Applied[] = ["no", "yes", "unknown"];
const retryTexts: readonly Retry[] = ["never", "same_request", "after_reload"];
const applied = enumeration(pb.AppliedSchema, appliedTexts);
const retry = enumeration(pb.RetrySchema, retryTexts);

const snakeCase = (name: string): string => name.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
const variantsByText = new Map(
  (Object.keys(STORE_ERROR_VARIANTS) as StoreErrorVariant[]).map((variant) => [snakeCase(variant), variant]),
);
const variantText = enumeration(pb.StoreErrorVariantSchema, [...variantsByText.keys()]);

/** The end of a failed call. */
export interface WireStatus {
  /** The number of the gRPC status. */
  readonly code: number;
  /** The message in its own trailer. The one in the details may be longer. */
  readonly message: string;
  /** The value of the trailer `STATUS_DETAILS_KEY`. */
  readonly details: Uint8Array;
}

/** Returns the status that carries a store error. Texts that are too long are cut, and the details say so. */
export function toWireStatus(error: StoreError): WireStatus {
  const { message, detail } = toErrorDetail(error);
  const { status, retryAfterMs }: { readonly status: GrpcStatus; readonly retryAfterMs?: number } =
    STORE_ERROR_REASONS[error.reason];
  const code = GRPC_STATUS[status];
  const info = create(ErrorInfoSchema, { reason: error.reason, domain: ERROR_DOMAIN });
  const details = [anyPack(pb.StoreErrorDetailSchema, detail), anyPack(ErrorInfoSchema, info)];
  if (retryAfterMs !== undefined) {
    const retryInfo = create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) });
    details.push(anyPack(RetryInfoSchema, retryInfo));
  }
  return {
    code,
    message: withinEncoded(message, ENCODED_MESSAGE_BYTES),
    details: toBinary(StatusSchema, create(StatusSchema, { code, message, details })),
  };
}

/** Cuts a text at a character, so that it is short enough in the form in which grpc-js writes a message. */
function withinEncoded(text: string, limit: number): string {
  const wellFormed = text.toWellFormed();
  if (encodeURI(wellFormed).length <= limit) return wellFormed;
  let length = 0;
  let kept = "";
  for (const character of wellFormed) {
    length += encodeURI(character).length;
    if (length > limit) break;
    kept += character;
  }
  return kept;
}

/** Returns a store error as its message and its details. Texts that are too long are cut at a character. */
export function toErrorDetail(error: StoreError): { readonly message: string; readonly detail: pb.StoreErrorDetail } {
  const { variant, reason, subject } = error;
  const digestsOfCut = new Map<string, Uint8Array>();
  const fit = (name: string, text: string, limit: number): string => {
    const bytes = Buffer.from(text, "utf8");
    if (bytes.length <= limit) return text;
    digestsOfCut.set(name, createHash("sha256").update(bytes).digest());
    let end = limit;
    while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
    return bytes.toString("utf8", 0, end);
  };
  const field = (name: string, text: string | undefined): string => fit(name, text ?? "", FIELD_BYTES);

  const message = fit("message", error.message, MESSAGE_BYTES);
  const detail = create(pb.StoreErrorDetailSchema, {
    variant: variantText.toWire(snakeCase(variant)),
    reason,
    applied: applied.toWire(error.applied),
    retry: retry.toWire(error.retry),
    record: field("record", subject.record),
    expected: field("expected", subject.expected),
    actual: field("actual", subject.actual),
    text: fit("text", error.text, TEXT_BYTES),
  });
  if (subject.runtimeId !== undefined) detail.runtimeId = field("runtime_id", subject.runtimeId);
  if (subject.identical !== undefined) detail.identical = subject.identical;
  if (subject.requestIdTimes) detail.requestIdTimes = requestIdTimes.toWire(subject.requestIdTimes);
  detail.truncated = digestsOfCut.size > 0;
  detail.truncatedSha256 = Object.fromEntries(digestsOfCut);
  return { message, detail };
}

/**
 * Returns the store error in the details of a status, or undefined when they hold none or one with a variant or reason
 * that this version does not know.
 */
export function fromWireStatus(details: Uint8Array): StoreError | undefined {
  const status = fromBinary(StatusSchema, details);
  const packed = status.details.find((any) => anyIs(any, pb.StoreErrorDetailSchema));
  const detail = packed && anyUnpack(packed, pb.StoreErrorDetailSchema);
  return detail && fromErrorDetail(detail, status.message);
}

/** Returns a store error from its message and its details, or undefined for a variant or reason that is not known. */
export function fromErrorDetail(detail: pb.StoreErrorDetail, message: string): StoreError | undefined {
  const variant = variantsByText.get(variantText.find(detail.variant) ?? "");
  if (!variant || !(detail.reason in STORE_ERROR_REASONS)) return undefined;
  const prefix = STORE_ERROR_VARIANTS[variant];
  const text = message.startsWith(prefix) ? message.slice(prefix.length) : message;
  return new StoreError(variant, detail.reason as StoreErrorReason, text, {
    runtimeId: detail.runtimeId,
    record: detail.record || undefined,
    expected: detail.expected || undefined,
    actual: detail.actual || undefined,
    identical: detail.identical,
    requestIdTimes: detail.requestIdTimes && requestIdTimes.toModel(detail.requestIdTimes),
  });
}
