import { createHash, hash } from "node:crypto";
import type { ExpectedVersion, Mutation, RuntimeMutation } from "@bolthole/contract";
import { YieldBudget } from "../yield-budget.js";

/** A part of a request in canonical form. Absent and empty are different. A large document is represented by its digest. */
export type Argument = Uint8Array | string | undefined;

/**
 * The canonical form of every field of `T`. A field without its form breaks the build, so that no field of a request can be
 * missing from its fingerprint. The order of the members is the order in the fingerprint, and must never change.
 */
export type Arguments<T> = { readonly [Field in keyof T]-?: Argument | readonly Argument[] };

/** The fields of a request except those that all mutations have. */
export type RequestArguments<R extends Mutation> = Arguments<Omit<R, keyof RuntimeMutation>>;

/** The parts of a request that its fingerprint covers. */
export interface Fingerprinted<R extends Mutation> {
  /** The name of the RPC. */
  readonly method: string;
  readonly request: R;
  readonly args: RequestArguments<NoInfer<R>>;
}

/** The fields that do not describe the change: the request id is the same in every retry, the store id names the target. */
type NotInFingerprint = "requestId" | "expectedStoreId";

/** Returns the canonical forms of all fields as one list, after those of `list`. */
export function argumentsOf<T>(fields: Arguments<T>, list: Argument[] = []): Argument[] {
  for (const form of Object.values<Argument | readonly Argument[]>(fields)) {
    if (form instanceof Array) for (const one of form) list.push(one);
    else list.push(form);
  }
  return list;
}

/** Up to this many arguments are hashed in one piece. A request with more has many input rows. */
const PIECE_PARTS = 256;
/** Up to this many bytes are hashed in one piece: about a millisecond. */
const PIECE_BYTES = 1 << 20;

/**
 * Returns the SHA-256 of method and arguments, each with its length. Two requests under one request id are the same request
 * exactly if their fingerprints are equal. Returns a promise, and yields, when there are many arguments or long ones.
 */
export function fingerprint<R extends Mutation>({
  method,
  request,
  args,
}: Fingerprinted<R>): Uint8Array | Promise<Uint8Array> {
  const parts: Argument[] = [method];
  if ("runtimeId" in request) addRuntimeArguments(request as R & RuntimeMutation, parts);
  argumentsOf(args, parts);
  if (parts.length <= PIECE_PARTS && totalBytes(parts) <= PIECE_BYTES) return hash("sha256", pieceOf(parts), "buffer");
  return fingerprintInSlices(parts);
}

async function fingerprintInSlices(parts: readonly Argument[]): Promise<Uint8Array> {
  const digest = createHash("sha256");
  const budget = new YieldBudget();
  for (let start = 0; start < parts.length;) {
    let end = start + 1;
    let bytes = lengthOf(parts[start]);
    while (end < parts.length && end - start < PIECE_PARTS && bytes + lengthOf(parts[end]) <= PIECE_BYTES) {
      bytes += lengthOf(parts[end]);
      end += 1;
    }
    const piece = pieceOf(parts.slice(start, end));
    for (let at = 0; at < piece.length; at += PIECE_BYTES) {
      digest.update(piece.subarray(at, at + PIECE_BYTES));
      const wait = budget.spend();
      if (wait) await wait;
    }
    start = end;
  }
  return digest.digest();
}

function totalBytes(args: readonly Argument[]): number {
  let total = 0;
  for (const arg of args) total += LENGTH_BYTES + lengthOf(arg);
  return total;
}

/** Returns arguments in the form that is hashed. */
function pieceOf(args: readonly Argument[]): Uint8Array {
  const bytes = Buffer.allocUnsafe(totalBytes(args));
  let at = 0;
  for (const arg of args) {
    at = bytes.writeInt32LE(arg === undefined ? ABSENT : lengthOf(arg), at);
    if (typeof arg === "string") at += bytes.write(arg, at, "utf8");
    else if (arg) {
      bytes.set(arg, at);
      at += arg.length;
    }
  }
  return bytes;
}

/** Returns the length of an argument in bytes. */
const lengthOf = (arg: Argument): number =>
  typeof arg === "string" ? Buffer.byteLength(arg, "utf8") : (arg?.length ?? 0);

const LENGTH_BYTES = 4;
const ABSENT = -1;

function addRuntimeArguments(request: RuntimeMutation, list: Argument[]): void {
  const { runtimeId, expectedFenceToken, expectedVersions = [] } = request;
  const versions: Argument[] = [];
  for (const { record, inputId, version } of expectedVersions) {
    argumentsOf<ExpectedVersion>({ record, inputId, version }, versions);
  }
  argumentsOf<Omit<RuntimeMutation, NotInFingerprint>>(
    { runtimeId, expectedFenceToken: expectedFenceToken?.toString(), expectedVersions: versions },
    list,
  );
}
