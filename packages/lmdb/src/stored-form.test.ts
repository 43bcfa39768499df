import type { RowKey } from "@bolthole/core";
import { type NodeEntry, decodeBranch, encodeBranch } from "./document-tree/node.js";
import { TreeChanges } from "./document-tree/reclaim/tree-changes.js";
import {
  decodeCount,
  decodeGarbage,
  decodeStaging,
  encodeCount,
  encodeGarbage,
  encodeStaging,
} from "./document-tree/reclaim/reclaim-records.js";
import { seal, unsealed } from "./document-tree/checksum.js";
import { readIdentity, writeIdentity } from "./format.js";
import { IdCounter, decodeCounter, encodeCounter, loadCounter, nextIdFacts } from "./counter.js";
import {
  IDENTITY_KEY,
  NODE_ID_KEY,
  ROW_SPACE_ID_KEY,
  SEQUENCE_KEY,
  documentKey,
  encodeKey,
  garbageKey,
  parseKey,
  pointerKey,
  spaceGarbageKey,
  spaceStagingKey,
} from "./keys.js";
import { type StoredRow, decodeRecord, encodeRecord } from "./record.js";
import { decodeOwner, decodePointer, encodeOwner, encodePointer } from "./row-spaces/space-records.js";

/*
 * The bytes on the disk are part of the product: a later version must read what this one wrote. A failure here means that
 * the format version must be raised.
 */

const INPUT_ID = "0198f01a-0000-7000-8000-000000000001";
const INPUT_HEX = "0198f01a000070008000000000000001";
const RUN_ID = "0198f0a0-0000-7000-8000-0000000000c1";
const RUN_HEX = "0198f0a00000700080000000000000c1";

/** Removes the spaces that separate the fields in an expected value. */
const bytes = (spaced: string): string => spaced.replaceAll(" ", "");
const hex = (value: Buffer): string => value.toString("hex");

describe("the key of", () => {
  test.each<[string, RowKey, string]>([
    ["the store manifest", { table: "storeManifest" }, "01 01"],
    ["the OAuth flows", { table: "oauth" }, "01 02"],
    ["an outcome", { table: "outcome", requestId: INPUT_ID }, `01 03 ${INPUT_HEX}`],
    ["a runtime manifest", { table: "runtimeManifest", runtimeId: "rt" }, "02 7274 0001 00"],
    ["a snapshot", { table: "snapshot", runtimeId: "rt" }, "02 7274 0001 01"],
    ["a lifecycle record", { table: "lifecycle", runtimeId: "rt" }, "02 7274 0001 02"],
    ["an operation snapshot", { table: "ops", runtimeId: "rt" }, "02 7274 0001 03"],
    ["an input", { table: "input", runtimeId: "rt", inputId: INPUT_ID }, `02 7274 0001 04 ${INPUT_HEX}`],
    [
      "a receipt",
      { table: "receipt", runtimeId: "rt", runId: RUN_ID, sequence: 258n },
      `02 7274 0001 05 ${RUN_HEX} 0000000000000102`,
    ],
    ["a row of the runtime with the empty id", { table: "snapshot", runtimeId: "" }, "02 0001 01"],
    ["a row of a runtime with a zero byte", { table: "snapshot", runtimeId: "a\0é" }, "02 61 00ff c3a9 0001 01"],
    [
      "a row of a runtime with a long id",
      { table: "snapshot", runtimeId: "x".repeat(1025) },
      "02 ff c6d8e9905300876046729949cc95c2385221270d389176f7234fe7ac00c4e430 01",
    ],
  ])("%s has its bytes", (_what, key, expected) => {
    expect(hex(encodeKey(key))).toBe(bytes(expected));
    expect(parseKey(encodeKey(key), "x".repeat(1025))).toEqual(key);
  });

  test.each([
    ["the last commit's sequence", SEQUENCE_KEY, "01 00"],
    ["the identity", IDENTITY_KEY, "01 00 01"],
    ["the next node id", NODE_ID_KEY, "01 00 02"],
    ["a node", documentKey("node", 258), "04 01 000000000102"],
    ["a reference count", documentKey("count", 258), "04 02 000000000102"],
    ["a garbage record", garbageKey(258, 3), "04 03 000000000102 00000003"],
    ["a staging record", documentKey("staging", 258), "04 04 000000000102"],
    ["the next row space id", ROW_SPACE_ID_KEY, "01 00 03"],
    ["a pointer", pointerKey("rt"), "05 01 7274 0001"],
    ["a staging record of a row space", spaceStagingKey(258), "05 02 000000000102"],
    ["a garbage record of a row space", spaceGarbageKey("rt", 258), "05 03 000000000102"],
    ["a garbage record of a default row space", spaceGarbageKey("rt", 0), "05 03 000000000000 7274 0001"],
    [
      "an input in a row space",
      encodeKey({ table: "input", runtimeId: "rt", inputId: INPUT_ID }, 258),
      `05 04 000000000102 04 ${INPUT_HEX}`,
    ],
    [
      "a receipt in a row space",
      encodeKey({ table: "receipt", runtimeId: "rt", runId: RUN_ID, sequence: 258n }, 258),
      `05 04 000000000102 05 ${RUN_HEX} 0000000000000102`,
    ],
  ])("%s has its bytes", (_what, key, expected) => {
    expect(hex(key)).toBe(bytes(expected));
  });
});

const ROW: StoredRow = {
  sequence: 5,
  checksum: 0x0a0b0c0d,
  value: Buffer.from("value"),
  root: undefined,
  runtimeId: undefined,
};
const ROOT: NodeEntry = { level: 2, id: 258, offset: 0, length: 70_000, crc32: 0x01020304 };

describe("a record", () => {
  test.each<[string, StoredRow, string]>([
    ["without a document", ROW, "02 ff 0000 0d0c0b0a 0000000000001440 00000000 76616c7565"],
    [
      "with a document and a hashed runtime id",
      { ...ROW, root: ROOT, runtimeId: "id" },
      "02 02 0200 0d0c0b0a 0000000000001440 e751ba92 020100000000 0000 701101000000 04030201 6964 76616c7565",
    ],
  ])("%s has its bytes", (_what, row, expected) => {
    expect(hex(encodeRecord(row))).toBe(bytes(expected));
    expect(decodeRecord(Buffer.from(bytes(expected), "hex"))).toEqual(row);
  });

  test("with an unknown form never matches its checksum", () => {
    const record = encodeRecord(ROW);
    record[0] = 3;
    expect(decodeRecord(record)).toMatchObject({ sequence: -1, checksum: -1 });
  });
});

describe("a branch", () => {
  const children: NodeEntry[] = [
    { level: 0, id: 1, offset: 0, length: 32_744, crc32: 1 },
    { level: 0, id: 2, offset: 16, length: 5, crc32: 0xffffffff },
  ];
  const value = encodeBranch(258, children);

  test("has its bytes", () => {
    const expected = "01 010000000000 0000 e87f00000000 01000000 020000000000 1000 050000000000 ffffffff e57c846e";
    expect(hex(value)).toBe(bytes(expected));
    expect(decodeBranch({ id: 258, level: 1 }, value)).toEqual(children);
  });

  test("is refused under another id, with another level, and with half an entry", () => {
    expect(decodeBranch({ id: 259, level: 1 }, value)).toBeUndefined();
    expect(decodeBranch({ id: 258, level: 2 }, value)).toBeUndefined();
    expect(decodeBranch({ id: 258, level: 1 }, sealedBody(documentKey("node", 258), "01 010000"))).toBeUndefined();
  });
});

/** Returns a value with a valid checksum for any body. */
function sealedBody(key: Buffer, body: string): Buffer {
  const content = Buffer.from(bytes(body), "hex");
  const value = unsealed(content.length);
  value.set(content);
  return seal(key, value);
}

describe("a garbage record", () => {
  const key = garbageKey(258, 3);

  test("has its bytes", () => {
    const dropped = [
      { id: 7, level: 1, isDead: true },
      { id: 8, level: 0, isDead: false },
    ];
    const value = encodeGarbage(key, { runtimeId: "rt", dropped });
    expect(hex(value)).toBe(bytes("0200 7274 070000000000 01 01 080000000000 00 00 9b88a6b0"));
    expect(decodeGarbage(key, value)).toEqual({ runtimeId: "rt", dropped });
  });

  test.each([
    ["an empty body", ""],
    ["a runtime id that is cut short", "0900 7274"],
    ["half a node", "0200 7274 07000000"],
    ["an unknown mark", "0200 7274 070000000000 01 02"],
  ])("with %s is refused", (_what, body) => {
    expect(decodeGarbage(key, sealedBody(key, body))).toBeUndefined();
  });
});

test("a staging record has its bytes, and one of another length is refused", () => {
  const key = documentKey("staging", 258);
  const value = encodeStaging(key, { first: 258, end: 300 });
  expect(hex(value)).toBe(bytes("020100000000 2c0100000000 a984b835"));
  expect(decodeStaging(key, value)).toEqual({ first: 258, end: 300 });
  expect(decodeStaging(key, sealedBody(key, "020100000000"))).toBeUndefined();
});

test("the records of row spaces have their bytes, and damaged ones are refused", () => {
  const key = pointerKey("rt");
  const value = encodePointer(key, { space: 258, runtimeId: "rt" });
  expect(hex(value.subarray(0, -4))).toBe(bytes("020100000000 7274"));
  expect(value).toEqual(sealedBody(key, "020100000000 7274"));
  expect(decodePointer(key, value)).toEqual({ space: 258, runtimeId: "rt" });
  expect(decodePointer(pointerKey("other"), value)).toBeUndefined();
  expect(decodePointer(key, sealedBody(key, "0201"))).toBeUndefined();
  const garbage = spaceGarbageKey("rt", 258);
  expect(encodeOwner(garbage, "rt")).toEqual(sealedBody(garbage, "7274"));
  expect(decodeOwner(garbage, encodeOwner(garbage, "rt"))).toBe("rt");
  expect(decodeOwner(spaceStagingKey(258), encodeOwner(garbage, "rt"))).toBeUndefined();
});

test("a reference count has its bytes, and one of another length protects its node", () => {
  const key = documentKey("count", 258);
  expect(hex(encodeCount(key, 2))).toBe(bytes("02000000 9f0c2a3b"));
  expect(decodeCount(key, encodeCount(key, 2))).toBe(2);
  expect(decodeCount(key, sealedBody(key, "0200"))).toBe(Infinity);
});

test("the identity of a store has its bytes, and a changed one is refused", () => {
  const identity = { storeId: INPUT_ID, epoch: "0123abcd" };
  const text = `{"storeId":"${INPUT_ID}","epoch":"0123abcd","crc32":824345478}`;
  expect(writeIdentity(identity).toString()).toBe(text);
  expect(readIdentity(Buffer.from(text))).toEqual(identity);
  expect(readIdentity(Buffer.from(text.replace("0123", "0124")))).toBeUndefined();
});

describe("a counter", () => {
  const sourceOf = (value: Buffer | undefined): { get(): Buffer | undefined; peek(): Buffer | undefined } => ({
    get: () => value,
    peek: () => value,
  });
  const facts = nextIdFacts(NODE_ID_KEY, "next document node", 0);

  test("of node ids has its bytes, and is stored together with nodes", () => {
    const source = sourceOf(undefined);
    const ids = IdCounter.load(source, facts);
    expect(ids.take(2)).toEqual({ first: 1, end: 3 });
    const changes = new TreeChanges(source, ids);
    changes.store([[documentKey("node", 1), Buffer.from("leaf")]]);
    expect(changes.puts().map(([key, value]) => `${hex(key)} ${value ? hex(value) : ""}`)).toEqual([
      "0401000000000001 6c656166",
      `010002 ${hex(encodeCounter(NODE_ID_KEY, 3))}`,
    ]);
  });

  test("of the last commit has its bytes, and is read as it was written", () => {
    expect(hex(encodeCounter(SEQUENCE_KEY, 3))).toBe("0000000000000840d0c84db2");
    for (const value of [0, 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      expect(decodeCounter(SEQUENCE_KEY, encodeCounter(SEQUENCE_KEY, value))).toBe(value);
    }
  });

  test("of a store of format 2 has no checksum, and is read", () => {
    expect(loadCounter(sourceOf(Buffer.from("0000000000000840", "hex")), facts)).toBe(3);
  });

  test.each(["00000000", "000000000000f87f", "000000000000f0bf", "000000000000e03f"])(
    "with the bytes %s is refused",
    (value) => {
      expect(() => loadCounter(sourceOf(Buffer.from(value, "hex")), facts)).toThrow(
        `the number of the next document node is damaged: expected at least 0, found ${value}`,
      );
    },
  );

  test("with one flipped bit, or under another key, is refused", () => {
    const value = encodeCounter(NODE_ID_KEY, 1000);
    for (let bit = 0; bit < value.length * 8; bit += 1) {
      const flipped = Buffer.from(value);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeCounter(NODE_ID_KEY, flipped)).toBeUndefined();
    }
    expect(decodeCounter(SEQUENCE_KEY, value)).toBeUndefined();
  });

  test("that is smaller than a stored number is refused", () => {
    const source = sourceOf(encodeCounter(NODE_ID_KEY, 7));
    expect(loadCounter(source, nextIdFacts(NODE_ID_KEY, "next document node", 6))).toBe(7);
    expect(() => loadCounter(source, nextIdFacts(NODE_ID_KEY, "next document node", 7))).toThrow(
      "the number of the next document node is damaged: expected at least 8, found 7; keep a copy of the folder",
    );
    expect(() => loadCounter(sourceOf(undefined), nextIdFacts(NODE_ID_KEY, "next document node", 7))).toThrow(
      "found 0",
    );
  });
});
