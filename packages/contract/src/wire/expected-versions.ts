import * as pb from "../gen/bolthole/v1/store_pb.js";
import type { ExpectedVersion, RecordKind } from "../versioned-store.js";
import { type Codec, InvalidArgumentError, enumeration, list, message, same } from "./message-codec.js";

const recordKinds: readonly RecordKind[] = ["session_snapshot", "machine_lifecycle", "ops_lifecycle", "input_state"];
const recordKind = enumeration(pb.RecordKindSchema, recordKinds);

type VersionOrAbsent = pb.ExpectedVersion["expected"];

/** The version of a record that must be stored, or undefined when it must not be stored. */
export const versionOrAbsent: Codec<VersionOrAbsent, string | undefined> = {
  toModel: (wire) => {
    if (wire.case === "version") return wire.value;
    if (wire.case === "absent" && wire.value) return undefined;
    throw new InvalidArgumentError("", "version, or absent true");
  },
  toWire: (version) => (version === undefined ? { case: "absent", value: true } : { case: "version", value: version }),
};

const expectedVersionMembers: Codec<pb.ExpectedVersion, ExpectedVersion> = message(
  pb.ExpectedVersionSchema,
  { record: recordKind, inputId: same, version: versionOrAbsent },
  { version: "expected" },
);

const expectedVersion: Codec<pb.ExpectedVersion, ExpectedVersion> = {
  toModel: (wire) => {
    const expected = expectedVersionMembers.toModel(wire);
    if ((expected.record === "input_state") !== (expected.inputId !== undefined)) {
      throw new InvalidArgumentError("input_id", "a UUID exactly with RECORD_KIND_INPUT_STATE");
    }
    return expected;
  },
  toWire: expectedVersionMembers.toWire,
  refuseUnknown: expectedVersionMembers.refuseUnknown,
};

const all = list(expectedVersion);

/** The versions that records must have. None means that no record is compared. */
export const expectedVersions: Codec<pb.ExpectedVersion[], readonly ExpectedVersion[] | undefined> = {
  toModel: (wire) => (wire.length === 0 ? undefined : all.toModel(wire)),
  toWire: (versions = []) => all.toWire(versions),
  refuseUnknown: (versions = []) => all.refuseUnknown?.(versions),
};
