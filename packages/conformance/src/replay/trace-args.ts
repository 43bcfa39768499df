import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { MachineLifecycle, RuntimeState, StoredInputState } from "@bolthole/contract";
import { readInputState } from "@bolthole/json";
import type { RawRow } from "../store-factory.js";
import type { LoadedText, TraceArgs, TraceStep } from "./trace.js";

export const has = (args: TraceArgs, name: string): boolean => name in args || `${name}_base64` in args;

/** The bytes of an argument, whichever form it is given in. */
export function bytesOf(args: TraceArgs, name: string): Buffer {
  const base64 = args[`${name}_base64`];
  return typeof base64 === "string" ? Buffer.from(base64, "base64") : Buffer.from(textOf(args, name));
}

export function textOf(args: TraceArgs, name: string): string {
  const text = args[name];
  assert.ok(typeof text === "string", `a step without the argument ${name}`);
  return text;
}

export function rowsOf(args: TraceArgs): StoredInputState[] {
  const { inputs } = args;
  assert.ok(Array.isArray(inputs), "a step without the argument inputs");
  return inputs.map((text) => readInputState(String(text)));
}

/** A lifecycle commit: the state, and the binding with its numbers as decimal strings. */
export function lifecycleOf(facts: Readonly<Record<string, unknown>>, state: unknown): MachineLifecycle {
  const text = (name: string): string | undefined => {
    const value = facts[name];
    return typeof value === "string" ? value : undefined;
  };
  const number = (name: string): bigint | undefined => {
    const digits = text(name);
    return digits === undefined ? undefined : BigInt(digits);
  };
  return {
    runtimeState: state as RuntimeState,
    binding: {
      agentRuntimeId: text("agent_runtime_id"),
      fenceToken: number("fence_token"),
      runtimeGeneration: number("runtime_generation"),
      runtimeEpochId: text("runtime_epoch_id"),
    },
  };
}

/** Loaded bytes in the form of the traces. */
export function loaded(bytes: Uint8Array | undefined): LoadedText | null {
  if (!bytes) return null;
  const buffer = Buffer.from(bytes);
  const text = buffer.toString("utf8");
  return Buffer.from(text).equals(buffer) ? { text } : { base64: buffer.toString("base64") };
}

/** The row of a `put_raw_row`: its key columns are the arguments that are neither its table nor its value. */
export function rawRowOf({ args, runtime_id }: TraceStep): RawRow {
  const key: Record<string, string | bigint> = runtime_id === undefined ? {} : { runtime_id };
  for (const name of Object.keys(args)) {
    if (name === "table" || name.startsWith("value")) continue;
    key[name] = name === "sequence" ? BigInt(textOf(args, name)) : textOf(args, name);
  }
  return { table: textOf(args, "table"), key, value: bytesOf(args, "value") };
}
