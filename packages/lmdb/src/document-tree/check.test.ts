import { documentKey, encodeKey, garbageKey } from "../keys.js";
import { decodeRecord } from "../record.js";
import type { DocumentFinding } from "./check.js";
import { encodeGarbage } from "./garbage.js";
import { decodeBranch } from "./node.js";
import { noise } from "./noise.test.helper.js";
import { encodeStaging } from "./staging.js";
import { StoredTrees } from "./stored-trees.test.helper.js";

/** One runtime whose document shares a leaf with itself, and a sound neighbour. */
let trees: StoredTrees;

beforeEach(async () => {
  trees = new StoredTrees();
  await trees.replace("hurt", [noise(200_000, 1)]);
  await trees.replace("hurt", [
    { offset: 0, length: 200_000 },
    { offset: 0, length: 200_000 },
  ]);
  await trees.replace("sound", [noise(200_000, 2)]);
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

const rootId = (): number => trees.root("hurt")?.id ?? -1;
const leafId = (): number => {
  const value = trees.get(documentKey("node", rootId())) ?? Buffer.of();
  return decodeBranch({ id: rootId(), level: 1 }, value)?.[0]?.id ?? -1;
};
const kinds = async (): Promise<string[]> => {
  const findings = await trees.findings();
  const kindOf = ({ kind, runtimeId = "?" }: DocumentFinding): string => `${kind} ${runtimeId}`;
  return [...new Set(findings.map(kindOf))].sort();
};

test.each<readonly [string, () => unknown, readonly string[]]>([
  ["a flipped byte in a leaf", () => flip(documentKey("node", leafId())), ["damaged hurt"]],
  // What lies below cannot be reached, and is not there for anybody.
  ["a flipped byte in a branch", () => flip(documentKey("node", rootId())), ["damaged hurt", "orphan ?"]],
  ["a missing leaf", () => remove(documentKey("node", leafId())), ["missing hurt"]],
  ["a missing branch", () => remove(documentKey("node", rootId())), ["missing hurt", "orphan ?"]],
  ["a missing count", () => remove(documentKey("count", leafId())), ["miscounted hurt"]],
  ["a flipped byte in a count", () => flip(documentKey("count", leafId())), ["miscounted hurt"]],
  ["a node that nothing names", () => put(documentKey("node", 900), noise(10, 1)), ["orphan ?"]],
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
      put(key, encodeGarbage(key, { runtimeId: "gone", dropped: [{ id: 900, level: 0, isDead: false }] }));
    },
    ["unfinished gone"],
  ],
  [
    "a garbage record that is none",
    () => {
      put(garbageKey(77, 0), noise(20, 1));
    },
    ["damaged ?"],
  ],
  [
    "a tree of two runtimes",
    () => {
      const record = trees.get(encodeKey({ table: "snapshot", runtimeId: "hurt" }));
      put(encodeKey({ table: "snapshot", runtimeId: "sound" }), record ?? Buffer.of());
    },
    ["damaged sound", "orphan ?"],
  ],
])("%s is found", async (_what, hurt, expected) => {
  hurt();
  expect(await kinds()).toEqual(expected);
});

test("a root that is damaged names nothing that would be taken away", async () => {
  const key = encodeKey({ table: "snapshot", runtimeId: "hurt" });
  const record = Buffer.from(trees.get(key) ?? Buffer.of());
  // The id of the root.
  record[20] = (record[20] ?? 0) ^ 1;
  expect(decodeRecord(record).root).toBeUndefined();
  put(key, record);
  trees.commit("hurt", undefined);
  while (trees.reclaim(512));
  expect(await kinds()).toEqual(["orphan ?"]);
  expect(trees.read("sound").equals(noise(200_000, 2))).toBe(true);
});
