import { U32 } from "../shapes/scalar.js";
import { type Field, defaulted, hidden } from "../shapes/struct.js";

const CURRENT_VERSION = 2;
const LEGACY_VERSION = 1;

/**
 * The version member of a document. Documents of both versions are read, and a document without the member has the legacy one;
 * the current version is written (contract 5.1, 7.1). `record` is the document's name in the contract's error text.
 */
export function recordVersion(name: string, record: string): Field<number> {
  return hidden(defaulted<number>(name, U32, LEGACY_VERSION), {
    compute: () => CURRENT_VERSION,
    allowed: {
      values: [CURRENT_VERSION, LEGACY_VERSION],
      problem: (version) =>
        `generated session persistence version authority rejected ${record}: ` +
        `expected current ${CURRENT_VERSION} or legacy ${LEGACY_VERSION}, got ${version}`,
    },
  });
}
