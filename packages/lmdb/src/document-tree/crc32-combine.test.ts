import { crc32 } from "node:zlib";
import fc from "fast-check";
import { combineCrc32 } from "./crc32-combine.js";

test("two stretches have the CRC-32 of both together", () => {
  const bytes = fc.uint8Array({ maxLength: 3000 });
  fc.assert(
    fc.property(bytes, bytes, (first, second) => {
      expect(combineCrc32(crc32(first), crc32(second), second.length)).toBe(crc32(Buffer.concat([first, second])));
    }),
    { numRuns: 1000 },
  );
});

test.each([0, 1, 4096, (1 << 24) - 1, 1 << 24, (1 << 25) + 12345])("behind a stretch of %d bytes too", (length) => {
  const [first, second] = [Buffer.from("a beginning"), Buffer.alloc(length, "some text")];
  expect(combineCrc32(crc32(first), crc32(second), length)).toBe(crc32(second, crc32(first)));
});
