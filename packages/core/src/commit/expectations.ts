import type { ExpectedVersion, Mutation, RuntimeMutation } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { inspectLifecycleRecord } from "@bolthole/contract/wire";
import type { Row, RowKey } from "../engine.js";
import type { Argument } from "./outcome.js";
import { parseUuid, tooLarge } from "../validate.js";
import { versionText } from "./version.js";

const isOfRuntime = (mutation: Mutation | RuntimeMutation): mutation is RuntimeMutation => "runtimeId" in mutation;

/** The row of the runtime's head, if the mutation is of one. */
export const runtimeManifestKey = (mutation: Mutation | RuntimeMutation): RowKey | undefined =>
  isOfRuntime(mutation) ? { table: "runtimeManifest", runtimeId: mutation.runtimeId } : undefined;

/** As many as one request may have rows. */
const MAX_EXPECTED_VERSIONS = 4096;

/** A condition on one stored row, from the caller. */
export interface Expectation {
  readonly key: RowKey;
  /** Throws when the stored row is not what the caller expects; `value` gives its sound value. */
  readonly check: (row: Row | undefined, value: () => Uint8Array | undefined) => void;
}

/** The mutation's fence token and expected versions, as conditions for the writer. */
export function expectationsOf(mutation: Mutation | RuntimeMutation, epoch: string): Expectation[] {
  if (!isOfRuntime(mutation)) return [];
  const versions = mutation.expectedVersions ?? [];
  if (versions.length > MAX_EXPECTED_VERSIONS) {
    throw tooLarge(writeFailed, "expected_versions", MAX_EXPECTED_VERSIONS, versions.length, "entries");
  }
  const expectations = versions.map((one, index) => expectVersion(one, index, mutation.runtimeId, epoch));
  if (mutation.expectedFenceToken !== undefined) {
    expectations.unshift(expectFence(mutation.expectedFenceToken, mutation.runtimeId));
  }
  return expectations;
}

/** They belong to the arguments that tell one request from another. */
export function expectationArguments(mutation: Mutation | RuntimeMutation): Argument[] {
  if (!isOfRuntime(mutation)) return [];
  return [
    mutation.runtimeId,
    mutation.expectedFenceToken?.toString(),
    ...(mutation.expectedVersions ?? []).flatMap(({ record, inputId, version }) => [record, inputId, version]),
  ];
}

function expectFence(token: bigint, runtimeId: string): Expectation {
  return {
    key: { table: "lifecycle", runtimeId },
    check: (_row, value) => {
      const record = value();
      const stored = record && inspectLifecycleRecord(record).fenceToken;
      if (stored === token) return;
      const actual = stored === undefined ? "none" : stored.toString();
      throw writeFailed("FENCE_CONFLICT", `expected fence token ${token.toString()}, the runtime's is ${actual}`, {
        runtimeId,
        record: "machine_lifecycle",
        expected: token.toString(),
        actual,
      });
    },
  };
}

function expectVersion(expected: ExpectedVersion, index: number, runtimeId: string, epoch: string): Expectation {
  return {
    key: expectedKey(expected, `expected_versions[${String(index)}]`, runtimeId),
    check: (row) => {
      const actual = row && versionText(epoch, row.sequence);
      if (actual === expected.version) return;
      const name = expected.inputId === undefined ? expected.record : `${expected.record} ${expected.inputId}`;
      const wanted = expected.version ?? "none";
      throw writeFailed("VERSION_CONFLICT", `expected ${name} at version ${wanted}, it is at ${actual ?? "none"}`, {
        runtimeId,
        record: name,
        expected: wanted,
        actual: actual ?? "none",
      });
    },
  };
}

function expectedKey({ record, inputId }: ExpectedVersion, field: string, runtimeId: string): RowKey {
  switch (record) {
    case "session_snapshot":
      return { table: "snapshot", runtimeId };
    case "machine_lifecycle":
      return { table: "lifecycle", runtimeId };
    case "ops_lifecycle":
      return { table: "ops", runtimeId };
    case "input_state":
      return {
        table: "input",
        runtimeId,
        inputId: parseUuid(inputId ?? "", `${field}.input_id`, writeFailed),
      };
  }
}
