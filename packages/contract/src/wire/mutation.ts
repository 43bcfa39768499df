import type { MessageInitShape } from "@bufbuild/protobuf";
import { RecordKindSchema } from "../gen/bolthole/v1/store_pb.js";
import type * as pb from "../gen/bolthole/v1/store_pb.js";
import { namedSnapshot } from "../named-snapshot.js";
import type {
  Committed,
  CommittedInput,
  CommittedInputs,
  ExpectedSnapshot,
  ExpectedVersion,
  InputsVersions,
  KeptInput,
  Mutation,
  RecordKind,
  RuntimeMutation,
  UnchangedInputs,
} from "../versioned-store.js";
import { enumCodec } from "./enum-codec.js";
import { InvalidArgumentError, requireField } from "./invalid-argument.js";

const RECORD_KINDS: readonly RecordKind[] = ["session_snapshot", "machine_lifecycle", "ops_lifecycle", "input_state"];
const recordKind = enumCodec(RecordKindSchema, RECORD_KINDS);

interface MutationMessage {
  readonly requestId?: string | undefined;
  readonly expectedStoreId?: string | undefined;
}

interface RuntimeMutationMessage extends MutationMessage {
  readonly runtimeId?: string | undefined;
  readonly expectedFenceToken?: bigint | undefined;
  readonly expectedVersions: readonly pb.ExpectedVersion[];
}

export const toMutation = ({ requestId, expectedStoreId }: MutationMessage): Mutation => ({
  requestId,
  expectedStoreId,
});

export const fromMutation = toMutation;

export function toRuntimeMutation(message: RuntimeMutationMessage): RuntimeMutation {
  return {
    runtimeId: requireField(message.runtimeId, "runtime_id"),
    requestId: message.requestId,
    expectedStoreId: message.expectedStoreId,
    expectedFenceToken: message.expectedFenceToken,
    expectedVersions:
      message.expectedVersions.length === 0 ? undefined : message.expectedVersions.map(toExpectedVersion),
  };
}

export function fromRuntimeMutation(mutation: RuntimeMutation): {
  runtimeId: string;
  requestId: string | undefined;
  expectedStoreId: string | undefined;
  expectedFenceToken: bigint | undefined;
  expectedVersions: MessageInitShape<typeof pb.ExpectedVersionSchema>[];
} {
  return {
    runtimeId: mutation.runtimeId,
    requestId: mutation.requestId,
    expectedStoreId: mutation.expectedStoreId,
    expectedFenceToken: mutation.expectedFenceToken,
    expectedVersions: (mutation.expectedVersions ?? []).map(({ record, inputId, version }) => ({
      record: recordKind.toWire(record, "record"),
      inputId,
      expected: version === undefined ? { case: "absent", value: true } : { case: "version", value: version },
    })),
  };
}

function toExpectedVersion(message: pb.ExpectedVersion, index: number): ExpectedVersion {
  const field = `expected_versions[${String(index)}]`;
  const record = recordKind.toModel(message.record, `${field}.record`);
  if ((record === "input_state") !== (message.inputId !== undefined)) {
    throw new InvalidArgumentError(`${field}.input_id`, "a UUID exactly with RECORD_KIND_INPUT_STATE");
  }
  return { record, inputId: message.inputId, version: toVersionOrAbsent(message.expected, `${field}.expected`) };
}

type VersionOrAbsent =
  { case: "version"; value: string } | { case: "absent"; value: boolean } | { case: undefined; value?: undefined };

/** Undefined: the record must be absent. */
export function toVersionOrAbsent(expected: VersionOrAbsent, field = "expected"): string | undefined {
  if (expected.case === "version") return expected.value;
  if (expected.case === "absent" && expected.value) return undefined;
  throw new InvalidArgumentError(field, "version, or absent true");
}

type VersionOrSha256 =
  { case: "version"; value: string } | { case: "sha256"; value: Uint8Array } | { case: undefined; value?: undefined };

export function toExpectedSnapshot(expected: VersionOrSha256): ExpectedSnapshot {
  if (expected.case === "version") return { version: expected.value };
  if (expected.case === "sha256") return { sha256: expected.value };
  throw new InvalidArgumentError("expected", "version or sha256", "neither");
}

export function fromExpectedSnapshot(
  expected: ExpectedSnapshot,
): { case: "version"; value: string } | { case: "sha256"; value: Uint8Array } {
  const named = namedSnapshot(expected);
  return "version" in named ? { case: "version", value: named.version } : { case: "sha256", value: named.sha256 };
}

export const toCommitted = ({ version, replayed }: Committed): Committed => ({ version, replayed });

const toKeptInput = ({ inputId, version }: KeptInput): KeptInput => ({ inputId, version });

export interface CommittedInputMessage extends Committed {
  readonly inputs?: InputsVersions | undefined;
}

export const toCommittedInput = ({ version, replayed, inputs }: CommittedInputMessage): CommittedInput => ({
  version,
  replayed,
  inputs: inputs && { before: inputs.before, after: inputs.after },
});

export const toCommittedInputs = (
  message: CommittedInputMessage & { readonly keptInputs: readonly KeptInput[] },
): CommittedInputs => ({ ...toCommittedInput(message), keptInputs: message.keptInputs.map(toKeptInput) });

export const fromCommittedInputs = (
  answer: CommittedInputs,
): CommittedInput & { readonly keptInputs: KeptInput[] } => ({
  ...toCommittedInput(answer),
  keptInputs: answer.keptInputs.map(toKeptInput),
});

export const toUnchangedInputs = (message: UnchangedInputs | undefined): UnchangedInputs | undefined =>
  message && { inputsVersion: message.inputsVersion };
