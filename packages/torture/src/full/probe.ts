import { randomBytes } from "node:crypto";
import { type BoltholeStore, connect } from "@bolthole/client";
import { StoreError } from "@bolthole/contract";

const CALL_MS = 10_000;

/** A caller with runtimes of its own, which leaves nothing behind. */
export class Probe {
  private readonly kept = new Map<string, Buffer>();
  private count = 0;

  private constructor(
    private readonly store: BoltholeStore,
    private readonly bytes: number,
  ) {}

  /** Of its documents. The larger they are, the sooner they are refused; small ones first fill what is free in the file. */
  static async open(target: string, bytes: number): Promise<Probe> {
    return new Probe(await connect(target, { timeoutMs: CALL_MS }), bytes);
  }

  /** Answers the reason of a refusal, or undefined. */
  async write(): Promise<string | undefined> {
    const runtimeId = `probe ${String((this.count += 1))}`;
    const sessionSnapshot = randomBytes(this.bytes);
    try {
      await this.store.commitSessionSnapshot(runtimeId, { sessionSnapshot, profile: "opaque" });
      this.kept.set(runtimeId, sessionSnapshot);
      return undefined;
    } catch (error) {
      return reasonOf(error);
    }
  }

  /** What is wrong with the answers to reads, or undefined. */
  async read(): Promise<string | undefined> {
    for (const [runtimeId, snapshot] of this.kept) {
      try {
        const loaded = await this.store.loadSessionSnapshot(runtimeId);
        if (!loaded || !snapshot.equals(loaded)) return `${runtimeId} is not what was acknowledged`;
      } catch (error) {
        return `${runtimeId}: ${reasonOf(error)}`;
      }
    }
    return undefined;
  }

  /** Clears everything of its own; answers the reason of the first refusal, or undefined. */
  async clear(): Promise<string | undefined> {
    for (const runtimeId of this.kept.keys()) {
      try {
        await this.store.clearSessionSnapshot(runtimeId);
        this.kept.delete(runtimeId);
      } catch (error) {
        return reasonOf(error);
      }
    }
    return undefined;
  }

  get holds(): number {
    return this.kept.size;
  }

  close(): Promise<void> {
    return this.store.close();
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof StoreError ? error.reason : error instanceof Error ? error.message : String(error);
