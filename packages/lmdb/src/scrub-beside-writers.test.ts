import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import type { StoredInputState } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { type EngineStore, ReadSet, createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "./lmdb-engine.js";
import { scrubbed } from "./scrub.test.helper.js";

const NOW = "2026-05-28T15:31:27Z";
const idOf = (serial: number): string => `0198f01a-0000-7000-8000-${String(serial).padStart(12, "0")}`;
const row = (serial: number, attemptCount: number): StoredInputState => ({
  inputId: idOf(serial),
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
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
  /** Whether the scrub's rest waits for it. */
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

/** Writes as a runtime does, and knows what it wrote. */
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
        // One ledger takes several looks, the others one.
        return store.persistInputState({
          runtimeId,
          state: row(size % (runtime === 0 ? 70 : 5), serial),
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
            runId: idOf(1),
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

test("whatever is written between its looks and during them, a sound store has no findings", async () => {
  await fc.assert(
    fc.asyncProperty(operations, async (list) => {
      const folder = mkdtempSync(join(tmpdir(), "bolthole-scrub-"));
      const engine = await LmdbEngine.open(folder);
      try {
        const store = createEngineStore(engine, { outcomeRetention: { maxAgeSeconds: 3600, maxCount: 20 } });
        const writer = new Writer(store);
        for (let serial = 0; serial < 70; serial += 1) {
          await store.persistInputState({ runtimeId: "runtime 0", state: row(serial, 0) });
        }
        const ahead = [...list];
        let tail: Promise<unknown> = Promise.resolve();
        const meanwhile = async (): Promise<void> => {
          const next = ahead.pop();
          if (!next) return;
          tail = tail.then(() => writer.perform(next));
          if (next.isAwaited) await tail;
        };
        let passes = 0;
        while (ahead.length > 0) {
          expect(await scrubbed(engine, 1, meanwhile)).toMatchObject({ found: [], faults: [] });
          passes += 1;
        }
        await tail;
        expect(passes).toBeGreaterThan(1);
        // The store is not merely unread: what is hurt now is found.
        const reads = new ReadSet();
        const handle = reads.add({ table: "input", runtimeId: "runtime 0", inputId: idOf(0) });
        await engine.commit({
          reads,
          bytes: 0,
          decide: () => ({ writes: [{ handle, row: undefined }], result: undefined, freesSpace: false }),
        });
        expect((await scrubbed(engine)).found).toMatchObject([{ code: "head-differs", runtimeId: "runtime 0" }]);
      } finally {
        await engine.close();
        rmSync(folder, { recursive: true, force: true });
      }
    }),
    { numRuns: 4, endOnFailure: true },
  );
});
