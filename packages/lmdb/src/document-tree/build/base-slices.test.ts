import fc from "fast-check";
import { SharedRanges } from "./base-slices.js";

const LENGTH = 40;
const range = fc
  .tuple(fc.nat(LENGTH - 1), fc.nat(LENGTH - 1))
  .map(([one, other]) => ({ offset: Math.min(one, other), length: Math.abs(one - other) + 1 }));

test("a byte is shared when the document contains it more than once, and a range is used whole when one part contains it", () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 8 }), range, (document, { offset: start, length }) => {
      const end = start + length;
      const shared = new SharedRanges(document);
      const times = (position: number): number =>
        document.filter(({ offset, length }) => offset <= position && position < offset + length).length;
      const found: boolean[] = [];
      let at = start;
      for (const part of shared.cut({ start, end })) {
        expect(part.start).toBe(at);
        expect(part.end).toBeGreaterThan(at);
        for (; at < part.end; at += 1) found.push(part.isShared);
      }
      const expected = Array.from({ length }, (_, index) => times(start + index) > 1);
      expect(found).toEqual(expected);
      expect(shared.overlaps({ start, end })).toBe(expected.includes(true));
      const isUsedWhole = document.some(({ offset, length }) => offset <= start && end <= offset + length);
      expect(shared.isUsedWhole({ start, end })).toBe(isUsedWhole);
    }),
    { numRuns: 500 },
  );
});
