import { createHash } from "node:crypto";
import type { RecordKey } from "../ledger/lines.js";
import type { Random } from "../random.js";
import { freshId } from "./records.js";
import { SessionScript } from "./session-script.js";

export interface SessionSize {
  readonly firstMessageBytes: number;
  /** A document larger than this is cleared, and another session begins. */
  readonly documentBytes: number;
}

export interface StoredSnapshot {
  readonly version: string;
  readonly sha256: Buffer;
  readonly bytes: number;
}

/** What the one writer of a runtime knows of it, so that the next operation is one the rules allow. */
export class RuntimeState {
  readonly inputIds: string[] = [];
  readonly receipts: { readonly runId: string; readonly sequence: bigint }[] = [];
  runId = freshId();
  sequence = 0n;
  fenceToken = 0n;
  hasLifecycle = false;
  /** Of each record that is stored. */
  readonly versions = new Map<RecordKey, string>();
  snapshot: StoredSnapshot | undefined;
  session: SessionScript;

  constructor(
    readonly runtimeId: string,
    readonly size: SessionSize,
    random: Random,
  ) {
    this.session = this.newSession(random);
  }

  newSession(random: Random): SessionScript {
    return new SessionScript(freshId(), this.size.firstMessageBytes, random);
  }

  /** Undefined: the record is gone. */
  noteVersion(key: RecordKey, version: string | undefined): void {
    if (version === undefined) this.versions.delete(key);
    else this.versions.set(key, version);
  }

  addInputs(inputIds: readonly string[]): void {
    for (const inputId of inputIds) if (!this.inputIds.includes(inputId)) this.inputIds.push(inputId);
  }
}

export const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
