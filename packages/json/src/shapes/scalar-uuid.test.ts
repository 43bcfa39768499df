import fc from "fast-check";

import { uuidFromBytes, uuidToBytes } from "./scalar.js";

test("every accepted spelling of a UUID has the same 16 bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const text = uuidFromBytes(bytes);
      for (const spelling of [text, text.toUpperCase(), text.replaceAll("-", ""), `{${text}}`, `urn:uuid:${text}`]) {
        expect(uuidToBytes(spelling)).toEqual(bytes);
      }
    }),
  );
});
