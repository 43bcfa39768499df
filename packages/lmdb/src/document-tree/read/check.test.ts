import type { Finding } from "@bolthole/contract";
import { documentKey, encodeKey, garbageKey } from "../../keys.js";
import { decodeRecord } from "../../record.js";
import { noise } from "../../testing/noise.js";
import { StoredTrees } from "../../testing/stored-trees.js";
import { decodeBranch } from "../node.js";
import { encodeGarbage, encodeStaging } from "../reclaim/reclaim-records.js";

/** A runtime "first" whose document shares a leaf with itself, and a runtime "second" that stays undamaged. */
let trees: StoredTrees;

beforeEach(async () => {
  trees = new StoredTrees();
  await trees.replace("first", [noise(200_000, 1)]);
  await trees.replace("first", [
    { offset: 0, length: 200_000 },
    { offset: 0, length: 200_000 },
  ]);
  await trees.replace("second", [noise(200_000, 2)]);
  while (trees.reclaim(512));
  expect(await trees.findings()).toEqual([]);
  expect(trees.count("count")).toBeGreaterThan(0);
});

const put = (key: Buffer, value: Buffer): unknown => trees.values.set(key.toString("latin1"), value);
const remove = (key: Buffer): unknown => trees.values.delete(key.toString("latin1"));

function flip(key: Buffer): unknown {
  const value = Buffer.from(trees.get(key) ?? Buffer.of());
  value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
  return put(key, value);
}

const rootId = (): number => trees.root("first")?.id ?? -1;
const leafId = (): number => {
  const value = trees.get(documentKey("node", rootId())) ?? Buffer.of();
  return decodeBranch({ id: rootId(), level: 1 }, value)?.[0]?.id ?? -1;
};
/** The findings, each as its code without "document-" and the runtime. */
const findings = async (): Promise<string[]> => {
  const nameOf = ({ code, runtimeId = "?" }: Finding): string => `${code.replace("document-", "")} ${runtimeId}`;
  return [...new Set((await trees.findings()).map(nameOf))].sort();
};

test.each<readonly [string, () => unknown, readonly string[]]>([
  ["a flipped byte in a leaf", () => flip(documentKey("node", leafId())), ["damaged first"]],
  // The nodes below the branch cannot be reached any more.
  ["a flipped byte in a branch", () => flip(documentKey("node", rootId())), ["damaged first", "orphan ?"]],
  ["a missing leaf", () => remove(documentKey("node", leafId())), ["missing first"]],
  ["a missing branch", () => remove(documentKey("node", rootId())), ["missing first", "orphan ?"]],
  ["a missing count", () => remove(documentKey("count", leafId())), ["miscounted first"]],
  ["a flipped byte in a count", () => flip(documentKey("count", leafId())), ["miscounted first"]],
  ["a node that nothing references", () => put(documentKey("node", 900), noise(10, 1)), ["orphan ?"]],
  ["a count of no node", () => put(documentKey("count", 900), noise(8, 1)), ["orphan ?"]],
  [
    "a document that is not committed",
    () => {
      put(documentKey("node", 900), noise(10, 1));
      const key = documentKey("staging", 900);
      put(key, encodeStaging(key, { first: 900, end: 901 }));
    },
    ["unfinished ?"],
  ],
  [
    "dropped nodes that are not reclaimed",
    () => {
      put(documentKey("node", 900), noise(10, 1));
      const key = garbageKey(77, 0);
      put(key, encodeGarbage(key, { runtimeId: "cleared", dropped: [{ id: 900, level: 0, isDead: false }] }));
    },
    ["unfinished cleared"],
  ],
  [
    "a value that is not a garbage record under the key of one",
    () => {
      put(garbageKey(77, 0), noise(20, 1));
    },
    ["damaged ?"],
  ],
  [
    "a tree that belongs to two runtimes",
    () => {
      const record = trees.get(encodeKey({ table: "snapshot", runtimeId: "first" }));
      put(encodeKey({ table: "snapshot", runtimeId: "second" }), record ?? Buffer.of());
    },
    ["damaged second", "orphan ?"],
  ],
])("%s is found", async (_what, damage, expected) => {
  damage();
  expect(await findings()).toEqual(expected);
});

test("a damaged root does not lead to the deletion of nodes", async () => {
  const key = encodeKey({ table: "snapshot", runtimeId: "first" });
  const record = Buffer.from(trees.get(key) ?? Buffer.of());
  // The id of the root.
  record[20] = (record[20] ?? 0) ^ 1;
  expect(decodeRecord(record).root).toBeUndefined();
  put(key, record);
  trees.commit("first", undefined);
  while (trees.reclaim(512));
  expect(await findings()).toEqual(["orphan ?"]);
  expect(trees.read("second").equals(noise(200_000, 2))).toBe(true);
});
