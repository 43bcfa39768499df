import type { ExpectedVersion, Mutation, RuntimeId, RuntimeMutation } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { inspectLifecycleRecord } from "@bolthole/contract/wire";
import type { RowKey } from "../engine.js";
import { parseUuid, tooLarge } from "../validate.js";
import type { WriteSet } from "./write-set.js";
import { versionText, type ReadSet, type RowReader } from "./row.js";

/** The most expected versions in a request: as many as it may contain rows. */
const MAX_EXPECTED_VERSIONS = 4096;

/** Throws when a stored row is not what the caller expects. */
export type Expectation = (rows: RowReader, values: Pick<WriteSet, "read">) => void;

/** Returns the fence token and the expected versions of a mutation as expectations. Adds their rows to the read set. */
export function expectationsOf(mutation: Mutation | RuntimeMutation, reads: ReadSet, epoch: string): Expectation[] {
  if (!("runtimeId" in mutation)) return [];
  const { runtimeId, expectedFenceToken, expectedVersions = [] } = mutation;
  if (expectedVersions.length > MAX_EXPECTED_VERSIONS) {
    throw tooLarge(writeFailed, "expected_versions", MAX_EXPECTED_VERSIONS, expectedVersions.length, "entries");
  }
  const expectations = expectedVersions.map((expected, index) =>
    expectVersion(expected, `expected_versions[${String(index)}]`, runtimeId, reads, epoch),
  );
  if (expectedFenceToken !== undefined) expectations.unshift(expectFence(expectedFenceToken, runtimeId, reads));
  return expectations;
}

function expectFence(token: bigint, runtimeId: RuntimeId, reads: ReadSet): Expectation {
  const handle = reads.add({ table: "lifecycle", runtimeId });
  return (_rows, values) => {
    const record = values.read(handle, (value) => value);
    const stored = record && inspectLifecycleRecord(record).fenceToken;
    if (stored === token) return;
    const actual = stored === undefined ? "none" : stored.toString();
    throw writeFailed("FENCE_CONFLICT", `expected fence token ${token.toString()}, found ${actual}`, {
      runtimeId,
      record: "machine_lifecycle",
      expected: token.toString(),
      actual,
    });
  };
}

function expectVersion(
  expected: ExpectedVersion,
  field: string,
  runtimeId: RuntimeId,
  reads: ReadSet,
  epoch: string,
): Expectation {
  const handle = reads.add(keyOfExpected(expected, field, runtimeId));
  return (rows, values) => {
    const row = rows.get(handle);
    // A damaged row may have any sequence.
    values.read(handle, () => undefined);
    const actual = row && versionText(epoch, row.sequence);
    if (actual === expected.version) return;
    const name = expected.inputId === undefined ? expected.record : `${expected.record} ${expected.inputId}`;
    const wanted = expected.version ?? "none";
    throw writeFailed("VERSION_CONFLICT", `expected ${name} at version ${wanted}, found ${actual ?? "none"}`, {
      runtimeId,
      record: name,
      expected: wanted,
      actual: actual ?? "none",
    });
  };
}

function keyOfExpected({ record, inputId }: ExpectedVersion, field: string, runtimeId: RuntimeId): RowKey {
  switch (record) {
    case "session_snapshot":
      return { table: "snapshot", runtimeId };
    case "machine_lifecycle":
      return { table: "lifecycle", runtimeId };
    case "ops_lifecycle":
      return { table: "ops", runtimeId };
    case "input_state":
      return { table: "input", runtimeId, inputId: parseUuid(inputId ?? "", `${field}.input_id`, writeFailed) };
  }
}
