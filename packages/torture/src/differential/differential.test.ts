import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { StoreError } from "@bolthole/contract";
import {
  type Decision,
  type Engine,
  type EngineStore,
  type Row,
  type RowKey,
  type View,
  keyText,
} from "@bolthole/core";
import { Random } from "../random.js";
import { DifferentialRound } from "./differential-round.js";
import type { Control } from "./subject.js";

const STEPS = 160;
/** A control of damage is not in every round. */
const CONTROL_SEEDS = [9, 10, 11, 12, 13, 14, 15, 16] as const;

/** Runs one round. Returns the error of the first difference, if there is one. */
async function differenceOf(seed: number, control?: Control): Promise<Error | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-engines-"));
  const round = new DifferentialRound({ random: new Random(seed), folder: join(folder, "stores"), control });
  try {
    await round.run(STEPS);
    expect(round.counts["applied"]).toBeGreaterThan(0);
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test.each([7, Date.now() % 0x7fffffff])(
  "all engines agree, with and without incremental checks (seed %i)",
  async (seed) => {
    expect(await differenceOf(seed)).toBeUndefined();
  },
);

/** Returns an engine with some changed methods. */
const changed = (engine: Engine, methods: Partial<Engine>): Engine =>
  new Proxy(engine, {
    get: (target, name) => {
      const member: unknown = Reflect.get(name in methods ? methods : target, name);
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });

/** Returns an engine that loses some of the writes of a commit. */
const losing =
  (isLost: (key: RowKey) => boolean) =>
  (engine: Engine): Engine => {
    const without = <T>(decision: Decision<T>): Decision<T> => ({
      ...decision,
      writes: decision.writes.filter(({ handle }) => !isLost(handle.key)),
    });
    return changed(engine, {
      commit: (batch) => engine.commit({ ...batch, decide: (rows, sequence) => without(batch.decide(rows, sequence)) }),
    });
  };

/** Returns an engine that makes the checksum of every row from the bytes that it finds. */
function trusting(engine: Engine): Engine {
  const trusted = (key: RowKey, row: Row): Row => ({
    ...row,
    checksum: crc32(row.value, crc32(`${keyText(key)} ${String(row.sequence)}`)),
  });
  const trustingView = (view: View): View => ({
    ...view,
    get: async (key) => {
      const row = await view.get(key);
      return row && trusted(key, row);
    },
    scan: async (range, limit, bytes) =>
      (await view.scan(range, limit, bytes)).map((entry) => ({ ...entry, row: trusted(entry.key, entry.row) })),
  });
  return changed(engine, { view: (read) => engine.view((view) => read(trustingView(view))) });
}

/** Returns a store that stores a session although the check of the boundary refuses it. */
const accepting = (store: EngineStore): EngineStore => ({
  ...store,
  atomicApply: async (request) => {
    try {
      return await store.atomicApply(request);
    } catch (error) {
      const isRejected = error instanceof StoreError && error.reason === "TRANSCRIPT_REJECTED";
      if (!isRejected) throw error;
      return store.atomicApply({ ...request, sessionDelta: undefined });
    }
  },
});

const CONTROLS: readonly (readonly [what: string, control: Control])[] = [
  [
    "an engine that loses input rows",
    { breaks: (name) => name.startsWith("SQLite"), engine: losing(({ table }) => table === "input") },
  ],
  [
    "an engine that forgets request ids",
    {
      breaks: (name) => name.startsWith("memory, incremental checks off"),
      engine: losing(({ table }) => table === "outcome"),
    },
  ],
  ["an engine whose checksums match damaged rows", { breaks: (name) => name.startsWith("LMDB"), engine: trusting }],
  [
    "incremental checks that accept every session",
    { breaks: (name) => name === "LMDB, incremental checks on", store: accepting },
  ],
];

test.each(CONTROLS)("the control is found: %s", async (_what, control) => {
  let found: Error | undefined;
  for (const seed of CONTROL_SEEDS) found ??= await differenceOf(seed, control);
  expect(found?.message).toMatch(/^step \d+: /);
});
