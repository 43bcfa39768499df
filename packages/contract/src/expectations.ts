import type { Fail } from "./argument-errors.js";
import { converted } from "./argument-errors.js";
import { checkMembers } from "./call-options.js";
import type { ExpectedVersion } from "./versioned-store.js";
import { ExpectedVersionSchema } from "./gen/bolthole/v1/store_pb.js";
import { expectedVersions } from "./wire/expected-versions.js";
import { checkFields, requireUint64 } from "./wire/field-types.js";
import { at } from "./wire/message-codec.js";

/** The conditions of a mutation of one runtime. Calls for the OAuth flow state ignore them. */
export interface Expectations {
  /** The fence token of the stored lifecycle record. A mutation throws FENCE_CONFLICT when the record has another or none. */
  readonly fenceToken?: bigint | undefined;
  /** The versions of stored records. A mutation throws VERSION_CONFLICT when one of them has another version. */
  readonly versions?: readonly ExpectedVersion[] | undefined;
}

const MEMBERS = ["fenceToken", "versions"] as const satisfies (keyof Expectations)[];

/**
 * Throws INVALID_ARGUMENT that names the member when expectations have a wrong type or a member that does not exist: a condition
 * must not be ignored.
 */
export function checkExpectations(expectations: unknown, fail: Fail): void {
  checkMembers("expectations", expectations, MEMBERS, fail);
  const { fenceToken, versions } = expectations as Expectations;
  converted("expectations", fail, () => {
    if (fenceToken !== undefined) {
      at("fenceToken", () => {
        requireUint64(fenceToken);
      });
    }
    at("versions", () => {
      const wire = expectedVersions.toWire(versions);
      for (const [index, one] of wire.entries()) {
        at(`[${String(index)}]`, () => {
          checkFields(ExpectedVersionSchema, one);
        });
      }
      expectedVersions.refuseUnknown?.(versions);
    });
  });
}
