import type { RuntimeId } from "@bolthole/contract";
import { LRUCache } from "lru-cache";
import { type SessionIndex, sizeOf } from "./remembered-session.js";

interface Entry {
  /** Of the snapshot row that it is of. */
  readonly sequence: number;
  readonly session: SessionIndex;
}

/** What is remembered of stored sessions, the least used forgotten first: the one file that knows lru-cache. */
export class SessionMemory {
  private readonly entries: LRUCache<RuntimeId, Entry> | undefined;

  constructor(bytes: number) {
    this.entries =
      bytes > 0 ? new LRUCache({ maxSize: bytes, sizeCalculation: ({ session }) => sizeOf(session) }) : undefined;
  }

  get(runtimeId: RuntimeId, sequence: number): SessionIndex | undefined {
    const entry = this.entries?.get(runtimeId);
    return entry?.sequence === sequence ? entry.session : undefined;
  }

  put(runtimeId: RuntimeId, sequence: number, session: SessionIndex): void {
    this.entries?.set(runtimeId, { sequence, session });
  }
}
