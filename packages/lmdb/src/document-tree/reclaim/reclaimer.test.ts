import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Environment } from "../../environment.js";
import { NODE_ID_KEY, documentKey } from "../../keys.js";
import { IdCounter } from "../../counter.js";
import { Leases } from "../read/lease.js";
import { encodeGarbage } from "./reclaim-records.js";
import { type MaintenanceTask, Reclaimer } from "./reclaimer.js";
import { TreeChanges } from "./tree-changes.js";

let folder: string;
let environment: Environment;
let transactions: number;
let refusal: Error | undefined;
let reclaimer: Reclaimer;
let leases: Leases;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-reclaimer-"));
  environment = new Environment(folder);
  transactions = 0;
  refusal = undefined;
  leases = new Leases(() => {
    reclaimer.readerEnded();
  });
  reclaimer = new Reclaimer(environment, leases, perform);
});

afterEach(async () => {
  await reclaimer.close();
  await environment.close();
  rmSync(folder, { recursive: true });
});

/** Runs a task in a transaction of its own, in place of the writer. */
async function perform(task: MaintenanceTask): Promise<void> {
  if (refusal) throw refusal;
  transactions += 1;
  const changes = new TreeChanges(environment, new IdCounter(NODE_ID_KEY, 1));
  task.apply(changes);
  await environment.write(changes.puts());
}

/** Stores leaves together with the garbage record of a commit that dropped them. */
async function drop(sequence: number, first: number, count: number): Promise<Buffer> {
  const key = documentKey("garbage", sequence);
  const ids = Array.from({ length: count }, (_leaf, index) => first + index);
  await environment.write([
    ...ids.map((id) => [documentKey("node", id), Buffer.from("leaf")] as const),
    [key, encodeGarbage(key, { runtimeId: "rt", dropped: ids.map((id) => ({ id, level: 0, isDead: false })) })],
  ]);
  reclaimer.addGarbage([{ key, runtimeId: "rt", sequence, isLarge: false }]);
  return key;
}

const isThere = (id: number): boolean => environment.get(documentKey("node", id)) !== undefined;

test("many nodes are reclaimed in several transactions, and few nodes of many commits in one", async () => {
  const key = await drop(1, 1, 1000);
  await reclaimer.reclaimed();
  expect(transactions).toBeGreaterThan(3);
  expect([isThere(1), isThere(1000), environment.get(key)]).toEqual([false, false, undefined]);
  transactions = 0;
  const reader = leases.hold("rt", 1);
  for (let sequence = 2; sequence < 12; sequence += 1) await drop(sequence, sequence * 10_000, 5);
  reader.end();
  await reclaimer.reclaimed();
  expect([transactions, isThere(20_004), isThere(110_004)]).toEqual([1, false, false]);
});

test("nodes stay when the writer refuses, and are reclaimed later", async () => {
  await drop(1, 1, 5);
  refusal = new Error("the disk is full");
  await reclaimer.reclaimed();
  expect(isThere(1)).toBe(true);
  refusal = undefined;
  await reclaimer.reclaimed();
  expect(isThere(1)).toBe(false);
});

test("a lease on an earlier document keeps dropped nodes, a lease on a later one does not", async () => {
  const earlier = leases.hold("rt", 4);
  const later = leases.hold("rt", 5);
  const other = leases.hold("another", 1);
  await drop(5, 1, 3);
  await reclaimer.reclaimed();
  expect(isThere(1)).toBe(true);
  earlier.end();
  await reclaimer.reclaimed();
  expect(isThere(1)).toBe(false);
  later.end();
  other.end();
});

test("a view that began before the commit keeps dropped nodes, a later view does not", async () => {
  const before = leases.enterView();
  await drop(5, 1, 3);
  const after = leases.enterView();
  await reclaimer.reclaimed();
  expect(isThere(1)).toBe(true);
  leases.leaveView(before);
  await reclaimer.reclaimed();
  expect(isThere(1)).toBe(false);
  leases.leaveView(after);
});
