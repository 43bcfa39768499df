import { methodsOf, patchModule } from "./patch-module.js";

interface Row {
  readonly value: Uint8Array;
}
interface Rows {
  verifiedValue: (key: unknown, row: Row) => Uint8Array;
  decodeRow: (key: unknown, row: Row, decode: (value: Uint8Array, row: Row) => unknown) => unknown;
}
interface Leaf {
  readonly offset: number;
  readonly length: number;
}
type Checked = (leaf: Leaf, value: Buffer | undefined) => Buffer;

// Serves rows and documents without checking their checksums.
patchModule(
  (request, from) => request.endsWith("/row.js") && from.includes("core"),
  (exports: Rows) => {
    if (typeof exports.verifiedValue !== "function" || typeof exports.decodeRow !== "function")
      throw new Error("this mutant is out of date: there is no verifiedValue or no decodeRow");
    exports.verifiedValue = (_key, { value }) => value;
    exports.decodeRow = (_key, row, decode) => decode(row.value, row);
    return undefined;
  },
);
patchModule(
  (request) => request.endsWith("/node-reader.js"),
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "NodeReader", "checked");
    const checked: Checked = ({ offset, length }, value = Buffer.alloc(0)) => value.subarray(offset, offset + length);
    Object.assign(methods, { checked });
    return undefined;
  },
);
