import fc from "fast-check";
import { type KnownRow, KnownRows } from "./known-rows.js";
import { row } from "./site.test.helper.js";

type Row = readonly [n: number, attempt: number];

const known = ([n, attempt]: Row): KnownRow => ({ state: row(n, attempt), bytes: 10 + n, version: `${n} ${attempt}` });
const oneRow: fc.Arbitrary<Row> = fc.tuple(fc.nat(7), fc.nat(2));
const distinct = fc.uniqueArray(oneRow, { selector: ([n]) => n });
/** A ledger in its old order, with some rows gone, changed, new, moved or there twice. */
const request = fc
  .tuple(distinct, fc.array(fc.tuple(fc.nat(8), oneRow), { maxLength: 3 }), fc.nat(3))
  .map(([rows, inserted, gone]) => inserted.reduce((all, [at, one]) => all.toSpliced(at, 0, one), rows.slice(gone)));

test("a row is known when one with its id is stored like it, whatever the order; none is when an id comes twice", () => {
  fc.assert(
    fc.property(distinct, distinct, request, fc.boolean(), (first, later, asked, isInOrder) => {
      const rows = KnownRows.of([...first, ...later].map(known));
      const stored = new Map([...first, ...later].map((one) => [one[0], one[1]]));
      const given = isInOrder ? [...stored].map(([n, attempt]): Row => [n, (attempt + n) % 2]) : asked;
      const areOnce = new Set(given.map(([n]) => n)).size === given.length;
      const isKnown = ([n, attempt]: Row): boolean => areOnce && stored.get(n) === attempt;
      const compared = rows.compare(given.map(([n, attempt]) => row(n, attempt)));
      expect(given.map((_, place) => compared.known[place]?.version)).toEqual(
        given.map((one) => (isKnown(one) ? known(one).version : undefined)),
      );
      expect(compared.travelling).toEqual(given.filter((one) => !isKnown(one)).map(([n, a]) => row(n, a)));
      expect(rows.bytes).toBe([...stored.keys()].reduce((total, n) => total + 10 + n, 0));
    }),
    { numRuns: 500 },
  );
});
