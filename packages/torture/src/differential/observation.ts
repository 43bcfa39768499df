import { createHash } from "node:crypto";
import { StoreError } from "@bolthole/contract";

/** A value as JSON would have it: bytes are their length and digest, and streams are read to their end. */
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [name: string]: Plain };

/** The response to a call, or its refusal. */
export interface Observation {
  readonly method: string;
  readonly response?: Plain;
  readonly refusal?: Refusal;
}

/** Everything that a program can learn from the error of a call. */
interface Refusal {
  /** The reason, or the whole error if it is no `StoreError`: a fault in every store. */
  readonly reason: string;
  readonly isStoreError: boolean;
  readonly details: Plain;
}

/** Performs a call, and returns what a program can observe, with the value or the error itself. */
export async function observe<T>(
  method: string,
  call: () => Promise<T>,
): Promise<{ readonly observation: Observation; readonly value?: T; readonly error?: unknown }> {
  try {
    const value = await call();
    return { observation: { method, response: await plainOf(value) }, value };
  } catch (error) {
    return { observation: { method, refusal: refusalOf(error) }, error };
  }
}

/** Returns the refusal that an error is. */
function refusalOf(error: unknown): Refusal {
  if (!(error instanceof StoreError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { reason: text, isStoreError: false, details: null };
  }
  const { variant, reason, applied, retry, text, subject } = error;
  const { requestIdTimes, identical = null } = subject;
  const { runtimeId = null, record = null, expected = null, actual = null } = subject;
  const times = requestIdTimes ? { ...requestIdTimes } : null;
  const details = { variant, reason, applied, retry, text, runtimeId, record, expected, actual, identical, times };
  return { reason, isStoreError: true, details };
}

/** Returns a value as JSON with sorted members. Members that are undefined count as absent. */
export async function plainOf(value: unknown): Promise<Plain> {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") return `${value.toString()}n`;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (value instanceof Uint8Array) return bytesText(value);
  if (value instanceof Error) return refusalOf(value).details;
  if (Array.isArray(value)) {
    const items: Plain[] = [];
    for (const item of value) items.push(await plainOf(item));
    return items;
  }
  if (typeof value !== "object") throw new TypeError(`a response contains a ${typeof value}`);
  if (Symbol.asyncIterator in value) return readStream(value as AsyncIterable<unknown>);
  const members: Record<string, Plain> = {};
  // The batches of a load are read before the failures, which are complete only then.
  for (const [name, member] of Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))) {
    if (member !== undefined) members[name] = await plainOf(member);
  }
  return members;
}

/** Reads the chunks of a document as one value, and the batches of rows as one list: engines divide them in their own way. */
async function readStream(stream: AsyncIterable<unknown>): Promise<Plain> {
  const chunks: Uint8Array[] = [];
  const items: Plain[] = [];
  for await (const part of stream) {
    if (part instanceof Uint8Array) chunks.push(Buffer.from(part));
    else items.push(...(await Promise.all((part as readonly unknown[]).map(plainOf))));
  }
  return items.length > 0 ? items : bytesText(Buffer.concat(chunks));
}

const SHOWN_BYTES = 64;

const bytesText = (bytes: Uint8Array): string => {
  if (bytes.length <= SHOWN_BYTES) return `${bytes.length} bytes ${Buffer.from(bytes).toString("hex")}`;
  return `${bytes.length} bytes with SHA-256 ${createHash("sha256").update(bytes).digest("hex")}`;
};
