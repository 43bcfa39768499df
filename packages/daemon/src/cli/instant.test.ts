import { parseInstant } from "./instant.js";

test.each([
  ["2026-05-28T15:31:27Z", "2026-05-28T15:31:27.000Z"],
  ["2026-05-28T15:31:27.5+02:00", "2026-05-28T13:31:27.500Z"],
  ["2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000Z"],
  ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"],
])("%s is an instant", (text, instant) => {
  expect(new Date(parseInstant(text)).toISOString()).toBe(instant);
});

test.each([
  "2026-02-30T00:00:00Z",
  "2026-02-31T00:00:00+01:00",
  "2027-02-29T00:00:00Z",
  "2026-04-31T00:00:00Z",
  "2026-13-01T00:00:00Z",
  "2026-01-01T25:00:00Z",
  "1969-01-01T00:00:00Z",
  "1970-01-01T00:00:00+01:00",
  "2026-05-28T15:31:27",
  "2026-05-28",
  "tomorrow",
  "",
])("%j is refused, and not taken for another day", (text) => {
  expect(() => parseInstant(text)).toThrow("Expected an instant that is in the calendar and not before 1970");
});
