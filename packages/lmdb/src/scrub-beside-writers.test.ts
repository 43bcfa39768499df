import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { type EngineStore, ReadSet, createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "./lmdb-engine.js";
import { inputId, inputState } from "@bolthole/core/testing";
import { runScrub } from "./testing/scrub-run.js";

const requestId = (serial: number): string => {
  const time = Date.now().toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${String(serial).padStart(12, "0")}`;
};

const KINDS = [
  "input",
  "input",
  "input",
  "whole",
  "patch",
  "patch",
  "clear",
  "lifecycle",
  "boundary",
  "oauth",
  "prune",
] as const;
interface Operation {
  readonly kind: (typeof KINDS)[number];
  readonly runtime: number;
  readonly size: number;
  /** Whether the pause of the scrub waits for it. */
  readonly isAwaited: boolean;
}
const operations = fc.array(
  fc.record({
    kind: fc.constantFrom(...KINDS),
    runtime: fc.nat(4),
    size: fc.nat(400_000),
    isAwaited: fc.boolean(),
  }),
  { minLength: 300, maxLength: 300 },
);

/** Performs operations and keeps the documents that it wrote. */
class Writer {
  private readonly documents = new Map<string, { readonly version: string; readonly bytes: Buffer }>();
  private serial = 0;

  constructor(private readonly store: EngineStore) {}

  perform({ kind, runtime, size }: Operation): Promise<unknown> {
    const { store } = this;
    const runtimeId = `runtime ${String(runtime)}`;
    const serial = (this.serial += 1);
    switch (kind) {
      case "input":
        // The scrub reads the rows of runtime 0 in several steps, those of the others in one.
        return store.persistInputState({
          runtimeId,
          state: inputState(size % (runtime === 0 ? 70 : 5), serial),
          requestId: requestId(serial),
        });
      case "whole":
        return this.keep(runtimeId, Buffer.alloc(size, `document ${String(serial)}`));
      case "patch":
        return this.patch(runtimeId, size, serial);
      case "clear":
        this.documents.delete(runtimeId);
        return store.clearSessionSnapshot({ runtimeId });
      case "lifecycle":
        return store.commitMachineLifecycle({
          runtimeId,
          record: encodeLifecycleRecord({ runtimeState: "idle", binding: {} }),
          inputStates: [],
        });
      case "boundary":
        return store.atomicApply({
          runtimeId,
          sessionDelta: undefined,
          receipt: {
            runId: inputId(1),
            boundary: "run_start",
            contributingInputIds: [],
            messageCount: 0n,
            sequence: BigInt(serial),
          },
          inputUpdates: [],
          sessionStoreKey: undefined,
        });
      case "oauth":
        return store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from(String(serial)) });
      case "prune":
        return store.prune();
    }
  }

  private async patch(runtimeId: string, size: number, serial: number): Promise<void> {
    const stored = this.documents.get(runtimeId);
    if (!stored) return this.keep(runtimeId, Buffer.alloc(size, "first"));
    const cut = size % (stored.bytes.length + 1);
    const insert = Buffer.from(`patch ${String(serial)}`);
    const bytes = Buffer.concat([stored.bytes.subarray(0, cut), insert, stored.bytes.subarray(cut)]);
    const pieces = [{ offset: 0, length: cut }, insert, { offset: cut, length: stored.bytes.length - cut }].filter(
      ({ length }) => length > 0,
    );
    const { version } = await this.store.commitSessionSnapshot({
      runtimeId,
      sessionDelta: {
        patch: { baseVersion: stored.version, resultLength: bytes.length, resultCrc32: crc32(bytes), pieces },
        profile: "opaque",
      },
    });
    this.documents.set(runtimeId, { version, bytes });
  }

  private async keep(runtimeId: string, bytes: Buffer): Promise<void> {
    const { version } = await this.store.commitSessionSnapshot({
      runtimeId,
      sessionDelta: { sessionSnapshot: bytes, profile: "opaque" },
    });
    this.documents.set(runtimeId, { version, bytes });
  }
}

test("an undamaged store has no findings while any operations are written during the scrub and its pauses", async () => {
  await fc.assert(
    fc.asyncProperty(operations, async (list) => {
      const folder = mkdtempSync(join(tmpdir(), "bolthole-scrub-"));
      const engine = await LmdbEngine.open(folder);
      try {
        const store = createEngineStore(engine, { outcomeRetention: { maxAgeSeconds: 3600, maxCount: 20 } });
        const writer = new Writer(store);
        for (let serial = 0; serial < 70; serial += 1) {
          await store.persistInputState({ runtimeId: "runtime 0", state: inputState(serial) });
        }
        const ahead = [...list];
        let tail: Promise<unknown> = Promise.resolve();
        const duringPause = async (): Promise<void> => {
          const next = ahead.pop();
          if (!next) return;
          tail = tail.then(() => writer.perform(next));
          if (next.isAwaited) await tail;
        };
        let passes = 0;
        while (ahead.length > 0) {
          expect(await runScrub(engine, 1, duringPause)).toMatchObject({ found: [], faults: [] });
          passes += 1;
        }
        await tail;
        expect(passes).toBeGreaterThan(1);
        // A row that is deleted without its manifest is found: the scrub really reads the store.
        const reads = new ReadSet();
        const handle = reads.add({ table: "input", runtimeId: "runtime 0", inputId: inputId(0) });
        await engine.commit({
          reads,
          bytes: 0,
          decide: () => ({ writes: [{ handle, row: undefined }], result: undefined, freesSpace: false }),
        });
        expect((await runScrub(engine)).found).toMatchObject([{ code: "head-differs", runtimeId: "runtime 0" }]);
      } finally {
        await engine.close();
        rmSync(folder, { recursive: true, force: true });
      }
    }),
    { numRuns: 4, endOnFailure: true },
  );
});
