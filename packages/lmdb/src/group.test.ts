import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { LEAF_BYTES } from "./document-tree/node.js";
import { Environment } from "./environment.js";
import { documentBounds } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";

let folder: string;
let engine: LmdbEngine;
let store: EngineStore;
const onFailure = jest.fn();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-group-"));
  engine = await LmdbEngine.open(folder, { onFailure });
  store = createEngineStore(engine);
});

afterEach(async () => {
  jest.restoreAllMocks();
  onFailure.mockReset();
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

const document = Buffer.from(Array.from({ length: 40 * LEAF_BYTES }, (_, at) => (at * 7919) % 251));
const commit = (runtimeId: string, sessionSnapshot = document) =>
  store.commitSessionSnapshot({ runtimeId, sessionDelta: { sessionSnapshot, profile: "opaque" } });

/** Lets LMDB report a damaged page for every record of one kind. */
function damage(kind: "count" | "garbage"): void {
  const { start, end } = documentBounds(kind);
  const { get } = Environment.prototype;
  jest.spyOn(Environment.prototype, "get").mockImplementation(function (this: Environment, key) {
    if (key.compare(start) >= 0 && key.compare(end) < 0) {
      throw Object.assign(new Error("MDB_PAGE_NOTFOUND"), { code: -30797 });
    }
    return get.call(this, key);
  });
}

test("a reference count that cannot be read refuses its batch before any change, and the rest of the group is applied", async () => {
  const { version } = await commit("damaged");
  damage("count");
  const { length } = document;
  const crc32 = (await engine.stage({ table: "snapshot", runtimeId: "other" }, undefined, [document, document])).crc32;
  const pieces = [
    { offset: 0, length },
    { offset: 0, length },
  ];
  const patch = { baseVersion: version, resultLength: 2 * length, resultCrc32: crc32, pieces };
  const results = await Promise.allSettled([
    store.commitSessionSnapshot({ runtimeId: "damaged", sessionDelta: { patch } }),
    commit("other", Buffer.from("small")),
  ]);
  expect(results).toMatchObject([
    { status: "rejected", reason: { reason: "DAMAGED_RECORD", applied: "no" } },
    { status: "fulfilled" },
  ]);
  expect(await store.loadSessionSnapshot({ runtimeId: "damaged" })).toMatchObject({ version, length });
  expect(onFailure).not.toHaveBeenCalled();
});

test("a maintenance task that cannot read its records is refused alone and changes nothing", async () => {
  damage("garbage");
  await commit("r");
  await commit("r", Buffer.from("small"));
  await engine.reclaimed();
  await commit("r", document);
  expect(onFailure).not.toHaveBeenCalled();
  jest.restoreAllMocks();
  await engine.reclaimed();
  expect((await engine.stats()).usedBytes).toBeLessThan(2 * document.length);
});
