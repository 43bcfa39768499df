import { canonicalTimestamp } from "./time.js";

test.each([
  ["2026-05-28T17:31:27.5+02:00", "2026-05-28T15:31:27.500Z"],
  ["26-5-8 1:2:3UTC", "0026-05-08T01:02:03Z"],
  ["9999-12-31T23:59:59-00:01", "+10000-01-01T00:00:59Z"],
  ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"],
  ["2026-05-28T15:31:27.000Z", "2026-05-28T15:31:27Z"],
])("the canonical form of the timestamp %s is %s", (text, canonical) => {
  expect(canonicalTimestamp(text)).toBe(canonical);
});

test.each(["2026-05-28T24:00:00Z", "2026-02-29T00:00:00Z", "2026-05-28T15:31:27,5Z", "2026-05-28T15:31:27+24:00"])(
  "%s is not a timestamp",
  (text) => {
    expect(canonicalTimestamp(text)).toBeUndefined();
  },
);
