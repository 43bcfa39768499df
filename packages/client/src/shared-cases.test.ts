import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { type JsonValue, fromJson, toBinary } from "@bufbuild/protobuf";
import { AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Metadata, status } from "@grpc/grpc-js";
import {
  type DocumentPart,
  GRPC_STATUS,
  OutcomeUnknownError,
  STORE_ERROR_REASONS,
  STORE_ERROR_VARIANTS,
  StoreError,
  type StoreErrorReason,
  readFailed,
  writeFailed,
} from "@bolthole/contract";
import { file_bolthole_v1_error, fromWireStatus } from "@bolthole/contract/wire";
import { attemptError } from "./call-errors.js";
import { CachedDocument } from "./deltas/document-cache.js";
import { createPatch } from "./deltas/document-diff.js";
import { RequestIds } from "./request-ids.js";
import { callWithRetries } from "./retries.js";

/*
 * The cases that the clients of all languages share (packages/conformance/cases): the files are right when this client passes them.
 */

function readCases(name: string): unknown {
  return JSON.parse(readFileSync(join(__dirname, "../../conformance/cases", name), "utf8"));
}

interface Times {
  readonly horizon_ms: number;
  readonly store_time_ms: number;
  readonly latest_ms: number;
}

const timesOf = ({ horizon_ms, store_time_ms, latest_ms }: Times) => ({
  horizonMs: horizon_ms,
  storeTimeMs: store_time_ms,
  latestMs: latest_ms,
});

// --- errors ---

interface ExpectedError {
  readonly variant: string;
  readonly reason: string;
  readonly applied: string;
  readonly retry: string;
  readonly text: string;
  readonly runtime_id?: string;
  readonly record?: string;
  readonly expected?: string;
  readonly actual?: string;
  readonly identical?: boolean;
  readonly request_id_times?: Times;
}

const errors = readCases("errors.json") as {
  readonly variants: readonly { readonly variant: string; readonly prefix: string }[];
  readonly reasons: readonly object[];
  readonly details: readonly {
    readonly name: string;
    readonly message: string;
    readonly detail: JsonValue;
    readonly error: ExpectedError | null;
  }[];
};

test("the shared table of errors is that of the contract", () => {
  const reasons = Object.entries(STORE_ERROR_REASONS).map(([reason, facts]) => ({
    reason,
    status: facts.status,
    code: GRPC_STATUS[facts.status],
    applied: facts.applied,
    retry: facts.retry,
    after_lookup: facts.isAfterLookup,
  }));
  expect(errors.reasons).toEqual(reasons);
  expect(Object.fromEntries(errors.variants.map(({ variant, prefix }) => [variant, prefix]))).toEqual(
    STORE_ERROR_VARIANTS,
  );
});

/** Returns a google.rpc.Status as bytes. */
function statusOf(message: string, detail: JsonValue): Uint8Array {
  const schema = file_bolthole_v1_error.messages.find(({ name }) => name === "StoreErrorDetail");
  if (!schema) throw new Error("expected the message StoreErrorDetail");
  const any = toBinary(AnySchema, anyPack(schema, fromJson(schema, detail)));
  const writer = new BinaryWriter().tag(2, WireType.LengthDelimited).string(message);
  return writer.tag(3, WireType.LengthDelimited).bytes(any).finish();
}

test.each(errors.details)("shared case of an error: $name", ({ message, detail, error }) => {
  const found = fromWireStatus(statusOf(message, detail));
  if (error === null || !found) {
    expect(found ?? null).toBe(error);
    return;
  }
  const { variant, reason, applied, retry, text, subject } = found;
  const { runtimeId, record, expected, actual, identical, requestIdTimes } = subject;
  expect({
    variant,
    reason,
    applied,
    retry,
    text,
    runtimeId,
    record,
    expected,
    actual,
    identical,
    requestIdTimes,
  }).toEqual({
    variant: error.variant,
    reason: error.reason,
    applied: error.applied,
    retry: error.retry,
    text: error.text,
    runtimeId: error.runtime_id,
    record: error.record,
    expected: error.expected,
    actual: error.actual,
    identical: error.identical,
    requestIdTimes: error.request_id_times && timesOf(error.request_id_times),
  });
});

// --- retries ---

const retries = readCases("retries.json") as {
  readonly cases: readonly {
    readonly name: string;
    readonly mutation: boolean;
    readonly attempts: readonly {
      readonly lost?: keyof typeof status;
      readonly refused?: StoreErrorReason;
      readonly response?: true;
    }[];
    readonly expect: { readonly attempts: number; readonly reason?: string };
  }[];
};

const REQUEST_ID = "0198f01a-0000-7000-8000-000000000003";

test.each(retries.cases)("shared case of retries: $name", async ({ mutation, attempts, expect: wanted }) => {
  let made = 0;
  const attempt = (): Promise<void> => {
    const one = attempts[made];
    made += 1;
    if (one?.response === true) return Promise.resolve();
    if (one?.refused) return Promise.reject((mutation ? writeFailed : readFailed)(one.refused, "refused"));
    const code = status[one?.lost ?? "UNKNOWN"];
    const lost = Object.assign(new Error("lost"), { code, details: "lost", metadata: new Metadata() });
    const facts = { path: "/Service/Call", address: "unix:/socket", signal: undefined, isMutation: mutation };
    return Promise.reject(attemptError(lost, facts));
  };
  const outcome = await callWithRetries({
    requestId: mutation ? REQUEST_ID : undefined,
    endsAtMs: performance.now() + 3_600_000,
    signal: undefined,
    connect: () => Promise.resolve(),
    refuseEnded: () => undefined,
    attempt,
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(made).toBe(wanted.attempts);
  expect(outcome instanceof StoreError ? outcome.reason : outcome).toBe(wanted.reason);
  if (wanted.reason === "OUTCOME_UNKNOWN") {
    expect(outcome instanceof OutcomeUnknownError && outcome.requestId).toBe(REQUEST_ID);
  }
});

// --- request ids ---

const requestIds = readCases("request-ids.json") as {
  readonly start_ms: number;
  readonly cases: readonly {
    readonly name: string;
    readonly steps: readonly {
      readonly jump?: number;
      readonly wait?: number;
      readonly learn?: Times;
      readonly next?: number;
    }[];
  }[];
};

test.each(requestIds.cases)("shared case of request ids: $name", ({ steps }) => {
  const times = { now: requestIds.start_ms, monotonic: requestIds.start_ms };
  const ids = new RequestIds({ now: () => times.now, monotonic: () => times.monotonic });
  for (const { jump = 0, wait = 0, learn, next } of steps) {
    times.now += jump + wait;
    times.monotonic += wait;
    if (learn) ids.learn(timesOf(learn));
    if (next === undefined) continue;
    const id = ids.next();
    expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(next);
  }
});

// --- patches ---

interface TextPart {
  readonly text?: string;
  readonly template?: string;
  readonly from?: number;
  readonly to?: number;
}

const patches = readCases("patches.json") as {
  readonly cases: readonly {
    readonly name: string;
    readonly limits: { readonly pieces: number; readonly insert_bytes: number };
    readonly base: readonly TextPart[];
    readonly next: readonly TextPart[];
    readonly patch: object | null;
  }[];
};

const documentOf = (parts: readonly TextPart[]): Buffer => Buffer.from(parts.map(textOf).join(""));

function textOf({ text = "", template = "", from = 0, to = 0 }: TextPart): string {
  const numbers = Array.from({ length: to - from }, (_, index) => from + index);
  const row = (n: number): string =>
    template.replaceAll("{n}", String(n)).replaceAll("{h}", String((n * 2654435761) % 2 ** 32));
  return text + numbers.map(row).join("");
}

const shownPiece = (part: DocumentPart): object =>
  part instanceof Uint8Array ? { insert: Buffer.from(part).toString("base64") } : { copy: [part.offset, part.length] };

test.each(patches.cases)("shared case of a patch: $name", ({ limits, base, next, patch }) => {
  const document = documentOf(next);
  const cached = new CachedDocument("v.1", [documentOf(base)], 0);
  const found = createPatch(cached, document, crc32(document), {
    patchPieces: limits.pieces,
    patchInsertBytes: limits.insert_bytes,
  });
  const shown = found && {
    result_length: found.resultLength,
    result_crc32: found.resultCrc32,
    pieces: found.pieces.map(shownPiece),
  };
  expect(shown ?? null).toEqual(patch);
});
