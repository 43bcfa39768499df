import type { RuntimeId } from "@bolthole/contract";
import { ReadSet, type RowHandle } from "../commit/row.js";
import type { Engine, RowSlice, View, WriteBatch } from "../engine.js";

/** An engine under test, and the removal of its files. */
export interface OpenedEngine {
  readonly engine: Engine;
  readonly remove: () => Promise<void>;
}

const RUNTIME: RuntimeId = "rt";
const REFUSED = { reason: "SHUTTING_DOWN", applied: "no" };
const KEY = { table: "outcome", requestId: "0198f01a-0000-7000-8000-0000000000aa" } as const;

function batch(text: string): WriteBatch<number> {
  const reads = new ReadSet();
  const handle: RowHandle = reads.add(KEY);
  return {
    reads,
    bytes: text.length,
    decide: (_rows, sequence) => ({
      writes: [{ handle, row: { sequence, checksum: 0, value: Buffer.from(text) } }],
      result: sequence,
      freesSpace: false,
    }),
  };
}

// eslint-disable-next-line @typescript-eslint/require-await -- the engine expects an asynchronous source
async function* slices(count: number, onSlice?: (index: number) => void): AsyncGenerator<RowSlice> {
  for (let index = 0; index < count; index += 1) {
    onSlice?.(index);
    const inputId = `0198f01a-0000-7000-8000-${String(index).padStart(12, "0")}`;
    yield (sequence) => [
      { key: { table: "input", runtimeId: RUNTIME, inputId }, row: { sequence, checksum: 0, value: Buffer.of(1) } },
    ];
  }
}

/** Resolves with the settled results, so that no rejection is unhandled while others are awaited. */
const settled = <T>(...calls: Promise<T>[]): Promise<PromiseSettledResult<T>[]> => Promise.allSettled(calls);

/** Defines the tests of the promise of `Engine.close`, for one engine. */
export function testClosing(name: string, open: () => Promise<OpenedEngine>): void {
  describe(`closing ${name}`, () => {
    let opened: OpenedEngine;
    let engine: Engine;
    beforeEach(async () => {
      opened = await open();
      ({ engine } = opened);
      await engine.commit(batch("first"));
    });
    afterEach(async () => {
      await engine.close();
      await opened.remove();
    });

    const everyCall = (): Promise<unknown>[] => [
      engine.commit(batch("late")),
      engine.view((view) => view.get(KEY)),
      engine.stage({ table: "snapshot", runtimeId: RUNTIME }, undefined, [Buffer.from("document")]),
      engine.stageRows(RUNTIME, slices(1)),
      engine.stats(),
      ...(engine.backUp ? [engine.backUp()] : []),
      ...(engine.compact ? [engine.compact({})] : []),
      ...(engine.check ? [engine.check({ onFinding: () => undefined })] : []),
    ];

    test("every call is refused while it closes and when it is closed, and changes nothing", async () => {
      const closed = engine.close();
      const refusals = await settled(...everyCall());
      await closed;
      refusals.push(...(await settled(...everyCall())));
      for (const result of refusals) expect(result).toMatchObject({ status: "rejected", reason: REFUSED });
      expect(refusals.length).toBeGreaterThanOrEqual(10);
    });

    test("a second close waits for the same end", async () => {
      const first = engine.close();
      expect(engine.close()).toBe(first);
      await first;
      expect(engine.close()).toBe(first);
    });

    test("changes that were accepted before are completed first", async () => {
      let completed = 0;
      const changes = Array.from({ length: 50 }, async (_, index) => {
        await engine.commit(batch(`change ${String(index)}`));
        completed += 1;
      });
      await engine.close();
      expect(completed).toBe(50);
      await Promise.all(changes);
    });

    test("it waits for a running view, whose further reads are refused", async () => {
      let end: () => void = () => undefined;
      const held = new Promise<void>((resolve) => {
        end = resolve;
      });
      let shown: View | undefined;
      let hasEnded = false;
      const reading = engine.view(async (view) => {
        await view.get(KEY);
        shown = view;
        await held;
        hasEnded = true;
      });
      while (!shown) await new Promise(setImmediate);
      const closed = engine.close().then(() => {
        expect(hasEnded).toBe(true);
      });
      const late = await settled<unknown>(
        shown.get(KEY),
        shown.scan({ table: "runtimeManifest" }, 1),
        shown.document({ table: "snapshot", runtimeId: RUNTIME }),
      );
      for (const result of late) expect(result).toMatchObject({ status: "rejected", reason: REFUSED });
      end();
      await reading;
      await closed;
    });

    test("rows that are being staged are refused at the next slice, and their source is ended", async () => {
      let closed: Promise<void> | undefined;
      let seen = 0;
      const staging = engine.stageRows(
        RUNTIME,
        slices(1000, (index) => {
          seen = index;
          if (index === 3) closed = engine.close();
        }),
      );
      await expect(staging).rejects.toMatchObject(REFUSED);
      expect(seen).toBe(3);
      await closed;
    });
  });
}
