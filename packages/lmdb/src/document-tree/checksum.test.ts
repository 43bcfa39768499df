import { crc32 } from "node:zlib";
import fc from "fast-check";
import { combineCrc32, seal, unseal, unsealed } from "./checksum.js";

test("the combined checksum of two ranges is the CRC-32 of both together", () => {
  const bytes = fc.uint8Array({ maxLength: 3000 });
  fc.assert(
    fc.property(bytes, bytes, (first, second) => {
      expect(combineCrc32(crc32(first), crc32(second), second.length)).toBe(crc32(Buffer.concat([first, second])));
    }),
    { numRuns: 1000 },
  );
});

test.each([0, 1, 4096, (1 << 24) - 1, 1 << 24, (1 << 25) + 12345])(
  "a second range of %d bytes is combined correctly",
  (length) => {
    const [first, second] = [Buffer.from("a beginning"), Buffer.alloc(length, "some text")];
    expect(combineCrc32(crc32(first), crc32(second), length)).toBe(crc32(second, crc32(first)));
  },
);

test("a sealed value is read back under its own key, and refused when a byte or the key differs", () => {
  const key = Buffer.from("key");
  const value = unsealed(4);
  value.write("body");
  seal(key, value);
  expect(unseal(key, value)?.toString()).toBe("body");
  expect(unseal(Buffer.from("another key"), value)).toBeUndefined();
  expect(unseal(key, value.subarray(0, 3))).toBeUndefined();
  for (let at = 0; at < value.length; at += 1) {
    const changed = Buffer.from(value);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(unseal(key, changed)).toBeUndefined();
  }
});
