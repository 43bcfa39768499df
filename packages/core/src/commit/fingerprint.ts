import { hash } from "node:crypto";
import type { ExpectedVersion, Mutation, RuntimeMutation } from "@bolthole/contract";

/** A part of a request in canonical form. Absent and empty are different. A large document is represented by its digest. */
export type Argument = Uint8Array | string | undefined;

/**
 * The canonical form of every field of `T`. A field without its form breaks the build, so that no field of a request can be
 * missing from its fingerprint. The order of the members is the order in the fingerprint, and must never change.
 */
export type Arguments<T> = { readonly [Field in keyof T]-?: Argument | readonly Argument[] };

/** The fields of a request beside those that all mutations have. */
export type RequestArguments<R extends Mutation> = Arguments<Omit<R, keyof RuntimeMutation>>;

/** What the fingerprint of a request consists of. */
export interface Fingerprinted<R extends Mutation> {
  /** The name of the RPC. */
  readonly method: string;
  readonly request: R;
  readonly args: RequestArguments<NoInfer<R>>;
}

/** The fields that do not describe the change: the request id is the same in every retry, the store id names the target. */
type NotInFingerprint = "requestId" | "expectedStoreId";

/** Returns the canonical forms of all fields as one list. */
export function argumentsOf<T>(fields: Arguments<T>): Argument[] {
  const list: Argument[] = [];
  for (const form of Object.values<Argument | readonly Argument[]>(fields)) {
    if (form instanceof Array) list.push(...form);
    else list.push(form);
  }
  return list;
}

/**
 * Returns the SHA-256 of method and arguments, each with its length. Two requests under one request id are the same request
 * exactly if their fingerprints are equal.
 */
export function fingerprint<R extends Mutation>({ method, request, args }: Fingerprinted<R>): Uint8Array {
  const parts = argumentsOf(args);
  if ("runtimeId" in request) parts.unshift(...runtimeArguments(request as R & RuntimeMutation));
  parts.unshift(method);
  let total = 0;
  for (const part of parts) total += LENGTH_BYTES + lengthOf(part);
  const bytes = Buffer.allocUnsafe(total);
  let at = 0;
  for (const part of parts) {
    at = bytes.writeInt32LE(part === undefined ? ABSENT : lengthOf(part), at);
    if (typeof part === "string") at += bytes.write(part, at, "utf8");
    else if (part) {
      bytes.set(part, at);
      at += part.length;
    }
  }
  return hash("sha256", bytes, "buffer");
}

/** Returns the length of a part in bytes. */
const lengthOf = (part: Argument): number =>
  typeof part === "string" ? Buffer.byteLength(part, "utf8") : (part?.length ?? 0);

const LENGTH_BYTES = 4;
const ABSENT = -1;

const runtimeArguments = ({ runtimeId, expectedFenceToken, expectedVersions = [] }: RuntimeMutation): Argument[] =>
  argumentsOf<Omit<RuntimeMutation, NotInFingerprint>>({
    runtimeId,
    expectedFenceToken: expectedFenceToken?.toString(),
    expectedVersions: expectedVersions.flatMap(({ record, inputId, version }) =>
      argumentsOf<ExpectedVersion>({ record, inputId, version }),
    ),
  });
