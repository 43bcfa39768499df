import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyIs, anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  AppliedSchema,
  RetrySchema,
  type StoreErrorDetail,
  StoreErrorDetailSchema,
  StoreErrorVariantSchema,
} from "../gen/bolthole/v1/error_pb.js";
import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
import type { Applied, Retry, StoreErrorReason, StoreErrorVariant } from "../error-reasons.js";
import { GRPC_STATUS, STORE_ERROR_REASONS, STORE_ERROR_VARIANTS } from "../error-reasons.js";
import { StoreError } from "../store-error.js";
import { enumCodec } from "./enum-codec.js";

/** The trailer in which gRPC libraries of every language look for details. */
export const STATUS_DETAILS_KEY = "grpc-status-details-bin";
export const ERROR_DOMAIN = "bolthole.v1";

/** Larger trailers break clients of some languages. */
const MESSAGE_BYTES = 2048;
const FIELD_BYTES = 384;

const APPLIED: readonly Applied[] = ["no", "yes", "unknown"];
const RETRY: readonly Retry[] = ["never", "same_request", "after_reload"];
const applied = enumCodec(AppliedSchema, APPLIED);
const retry = enumCodec(RetrySchema, RETRY);
const snakeCase = (name: string): string => name.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
const variants = Object.keys(STORE_ERROR_VARIANTS) as StoreErrorVariant[];
const variantCodec = enumCodec(StoreErrorVariantSchema, variants.map(snakeCase));
const variantBySnake = new Map(variants.map((variant) => [snakeCase(variant), variant]));

/** What a failed call ends with. */
export interface WireStatus {
  readonly code: number;
  readonly message: string;
  /** The value of `STATUS_DETAILS_KEY`. */
  readonly details: Uint8Array;
}

/** The status that carries a store error; over-long texts are cut at a character, and say so. */
export function toWireStatus(error: StoreError): WireStatus {
  const { message, detail } = toErrorDetail(error);
  const code = GRPC_STATUS[STORE_ERROR_REASONS[error.reason].status];
  const info = create(ErrorInfoSchema, { reason: error.reason, domain: ERROR_DOMAIN });
  const details = [anyPack(StoreErrorDetailSchema, detail), anyPack(ErrorInfoSchema, info)];
  return { code, message, details: toBinary(StatusSchema, create(StatusSchema, { code, message, details })) };
}

/** A store error as a message of its own. */
export function toErrorDetail(error: StoreError): { readonly message: string; readonly detail: StoreErrorDetail } {
  const { variant, reason, subject } = error;
  const cut = new Map<string, Uint8Array>();
  const fit = (name: string, text: string, limit: number): string => {
    const bytes = Buffer.from(text, "utf8");
    if (bytes.length <= limit) return text;
    cut.set(name, createHash("sha256").update(bytes).digest());
    let end = limit;
    while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
    return bytes.toString("utf8", 0, end);
  };
  const field = (name: string, text: string | undefined): string => fit(name, text ?? "", FIELD_BYTES);

  const message = fit("message", error.message, MESSAGE_BYTES);
  const detail = create(StoreErrorDetailSchema, {
    variant: variantCodec.toWire(snakeCase(variant)),
    reason,
    applied: applied.toWire(error.applied),
    retry: retry.toWire(error.retry),
    record: field("record", subject.record),
    expected: field("expected", subject.expected),
    actual: field("actual", subject.actual),
  });
  if (subject.runtimeId !== undefined) detail.runtimeId = field("runtime_id", subject.runtimeId);
  if (subject.identical !== undefined) detail.identical = subject.identical;
  detail.truncated = cut.size > 0;
  detail.truncatedSha256 = Object.fromEntries(cut);
  return { message, detail };
}

/** The store error that a status carries, or nothing when it carries no detail that this version knows. */
export function fromWireStatus(details: Uint8Array): StoreError | undefined {
  const status = fromBinary(StatusSchema, details);
  const packed = status.details.find((any) => anyIs(any, StoreErrorDetailSchema));
  const detail = packed && anyUnpack(packed, StoreErrorDetailSchema);
  return detail && fromErrorDetail(detail, status.message);
}

/** Nothing, when it is one that this version does not know. */
export function fromErrorDetail(detail: StoreErrorDetail, message: string): StoreError | undefined {
  if (!(detail.reason in STORE_ERROR_REASONS)) return undefined;
  const variant = variantBySnake.get(variantCodec.toModel(detail.variant, "variant"));
  if (!variant) return undefined;
  const prefix = STORE_ERROR_VARIANTS[variant];
  const text = message.startsWith(prefix) ? message.slice(prefix.length) : message;
  return new StoreError(variant, detail.reason as StoreErrorReason, text, {
    runtimeId: detail.runtimeId,
    record: detail.record || undefined,
    expected: detail.expected || undefined,
    actual: detail.actual || undefined,
    identical: detail.identical,
  });
}
