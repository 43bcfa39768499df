import { Random } from "../random.js";
import { mutated, readFields, writeFields } from "./mutation.js";
import { Seeds } from "./requests.js";

const seeds = new Seeds(new Random(1));
const calls = Array.from({ length: 2000 }, () => seeds.next());

test("reading and writing the fields of a request returns the same bytes", () => {
  for (const { message } of calls) {
    const fields = readFields(message);
    expect(fields && writeFields(fields).equals(message)).toBe(true);
  }
});

test("bytes that are not a message have no fields", () => {
  for (const hex of ["ff", "07", "0a05", "0aff", "08", "0d0000"]) {
    expect(readFields(Buffer.from(hex, "hex"))).toBeUndefined();
  }
});

test("the pool has requests of every RPC", () => {
  const paths = new Set(calls.map(({ path }) => path));
  expect([...paths].sort()).toEqual(Seeds.paths.sort());
});

test("most mutations change the request, and the seed determines the mutation", () => {
  const changedBy = (seed: number): Buffer[] => {
    const random = new Random(seed);
    return calls.map(({ message }, index) => mutated(message, calls[index - 1]?.message ?? message, random));
  };
  const changed = changedBy(7).filter((message, index) => !message.equals(calls[index]?.message ?? message));
  expect(changed.length).toBeGreaterThan(calls.length / 2);
  expect(Buffer.concat(changedBy(7)).equals(Buffer.concat(changedBy(7)))).toBe(true);
});
