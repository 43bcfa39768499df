import fc from "fast-check";
import { RepeatedStretches } from "./repeated-stretches.js";

const LENGTH = 40;
const range = fc
  .tuple(fc.nat(LENGTH - 1), fc.nat(LENGTH - 1))
  .map(([one, other]) => ({ offset: Math.min(one, other), length: Math.abs(one - other) + 1 }));

test("every byte is told by how often it is taken, and every stretch by whether it is taken at once", () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 8 }), range, (document, { offset: start, length }) => {
      const end = start + length;
      const repeated = new RepeatedStretches(document);
      const times = (place: number): number =>
        document.filter(({ offset, length }) => offset <= place && place < offset + length).length;
      const told: boolean[] = [];
      let at = start;
      for (const part of repeated.cut(start, end)) {
        expect(part.start).toBe(at);
        expect(part.end).toBeGreaterThan(at);
        for (; at < part.end; at += 1) told.push(part.isShared);
      }
      const expected = Array.from({ length }, (_, index) => times(start + index) > 1);
      expect(told).toEqual(expected);
      expect(repeated.meet(start, end)).toBe(expected.includes(true));
      const isTaken = document.some(({ offset, length }) => offset <= start && end <= offset + length);
      expect(repeated.isTakenWhole(start, end)).toBe(isTaken);
    }),
    { numRuns: 500 },
  );
});
