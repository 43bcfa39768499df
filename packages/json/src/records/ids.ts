import type { Uuid } from "../shapes/scalar.js";

/** The name of a runtime: any UTF-8 text, including the empty one. Compared byte by byte, without aliases (contract 1.2). */
export type RuntimeId = string;

export type SessionId = Uuid;
export type RunId = Uuid;
export type InputId = Uuid;
export type OperationId = Uuid;

/** The version of a record: compare it for equality only. No version is used twice, not after a delete or a restore. */
export type Version = string;
