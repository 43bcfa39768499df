import { frameScanner } from "./wire-tap.js";

const frame = (type: number, flags: number, stream: number, length: number): Buffer => {
  const bytes = Buffer.alloc(9 + length, 0xee);
  bytes.writeUIntBE(length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(stream, 5);
  return bytes;
};

test("frames and the last frame of each stream are found, however the bytes are divided", () => {
  const SETTINGS = 4;
  const bytes = Buffer.concat([
    Buffer.from("preface"),
    frame(SETTINGS, 1, 0, 12),
    frame(1, 4, 1, 70),
    frame(0, 0, 1, 300),
    frame(0, 1, 1, 0),
    frame(1, 5, 3, 20),
  ]);
  for (const size of [1, 7, 100, bytes.length]) {
    const found: [number, boolean][] = [];
    const scan = frameScanner(7, (stream, isLast) => found.push([stream, isLast]));
    for (let at = 0; at < bytes.length; at += size) scan(bytes.subarray(at, at + size));
    expect(found).toEqual([
      [0, false],
      [1, false],
      [1, false],
      [1, true],
      [3, true],
    ]);
  }
});
