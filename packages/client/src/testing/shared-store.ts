import { createHash } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import {
  type OpsDelta,
  OutcomeUnknownError,
  type RunBoundaryReceipt,
  RuntimeStoreAdapter,
  type SessionChange,
  type SessionDelta,
  type StoredInputState,
  type VersionedStore,
} from "@bolthole/contract";
import { DEFAULT_LIMITS, MemoryEngine, createEngineStore } from "@bolthole/core";
import { createDeltaStore } from "../deltas/delta-store.js";

export const RT = "runtime";
export const MIB = 1024 * 1024;
const OPTIONS = {
  documentCacheBytes: 64 * MIB,
  inputRowCacheBytes: MIB,
  timeoutMs: 10_000,
  maxMessageBytes: 33 * MIB,
};

/** One recorded request. */
interface SentRequest {
  readonly method: string;
  readonly requestId: string;
  /** The form of its document. */
  readonly document: "patch" | "whole" | "upload" | undefined;
  /** The form of its expected document. */
  readonly expected: string | undefined;
  /** The numbers of its input rows. */
  readonly rows: readonly number[];
  /** Whether it says that other rows are unchanged. */
  readonly unchanged: boolean;
}

interface AnyRequest {
  readonly requestId?: string;
  readonly sessionDelta?: SessionChange;
  readonly replacement?: SessionChange;
  readonly opsDelta?: OpsDelta;
  readonly expected?: object;
  readonly inputUpdates?: readonly StoredInputState[];
  readonly inputStates?: readonly StoredInputState[];
  readonly unchangedInputs?: object;
}

const formOf = (change: SessionChange | OpsDelta | undefined): SentRequest["document"] =>
  change && ("patch" in change ? "patch" : "uploadId" in change ? "upload" : "whole");

/** A store in place of the gRPC store: it creates request ids, records every mutation, and loses responses on demand. */
class RequestRecorder {
  readonly sent: SentRequest[] = [];
  /** How many of the next responses are lost. */
  loseResponses = 0;
  readonly store: VersionedStore;

  constructor(private readonly target: VersionedStore) {
    this.store = new Proxy(target, {
      get: (_, name: keyof VersionedStore) => (request: AnyRequest) =>
        name === "getServerInfo" || name.startsWith("upload") || name.startsWith("load")
          ? (target[name] as (request: object) => unknown)(request)
          : this.send(name, { ...request, requestId: request.requestId ?? uuidv7() }),
    });
  }

  /** Returns the recorded requests and removes them from the record. */
  take(): SentRequest[] {
    return this.sent.splice(0);
  }

  private async send(
    name: keyof VersionedStore,
    request: AnyRequest & { readonly requestId: string },
  ): Promise<unknown> {
    this.sent.push({
      method: name,
      requestId: request.requestId,
      document: formOf(request.sessionDelta ?? request.replacement ?? request.opsDelta),
      expected: request.expected && Object.keys(request.expected)[0],
      rows: (request.inputUpdates ?? request.inputStates ?? []).map(({ inputId }) => Number(inputId.slice(-6))),
      unchanged: request.unchangedInputs !== undefined,
    });
    const response = await (this.target[name] as (request: object) => Promise<unknown>)(request);
    // A compare-and-set that did not match has changed nothing and has no stored outcome: losing it would test nothing.
    if (this.loseResponses === 0 || response === undefined) return response;
    this.loseResponses -= 1;
    throw new OutcomeUnknownError(request.requestId, "lost");
  }
}

/** A client of a `SharedStore`. */
interface RecordedClient {
  readonly recorder: RequestRecorder;
  readonly versioned: VersionedStore;
  readonly store: RuntimeStoreAdapter;
}

/** A store in memory that several clients share, each with its own caches. */
export class SharedStore {
  private readonly engine = new MemoryEngine();
  readonly plain = createEngineStore(this.engine);

  client(options: Partial<typeof OPTIONS> = {}): RecordedClient {
    const recorder = new RequestRecorder(this.plain);
    const versioned = createDeltaStore(recorder.store, DEFAULT_LIMITS, { ...OPTIONS, ...options });
    return { recorder, versioned, store: new RuntimeStoreAdapter(versioned, this.engine.storeId) };
  }

  /** Returns the stored document as text. */
  async document(): Promise<string> {
    const loaded = await this.plain.loadSessionSnapshot({ runtimeId: RT });
    const chunks: Uint8Array[] = [];
    for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
    return Buffer.concat(chunks).toString("latin1");
  }
}

/** Returns text without repetitions, the same for the same seed. */
export function uniqueText(seed: string, length: number): string {
  const parts: string[] = [];
  for (let n = 0; n * 44 < length; n++) parts.push(createHash("sha256").update(`${seed} ${n}`).digest("base64"));
  return parts.join("").slice(0, length);
}

export const documentOf = (seed: string, length = 100_000): Buffer => Buffer.from(uniqueText(seed, length));
export const append = (document: Buffer, text: string): Buffer => Buffer.concat([document, Buffer.from(text)]);
export const opaque = (sessionSnapshot: Uint8Array): SessionDelta => ({ sessionSnapshot, profile: "opaque" });

export const idOf = (n: number): string => `0198f01a-0000-7000-8000-${String(n).padStart(12, "0")}`;
export const row = (n: number, attemptCount = 0): StoredInputState => ({
  inputId: idOf(n),
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: "2026-05-28T15:31:27Z",
  updatedAt: "2026-05-28T15:31:27Z",
});
export const rows = (count: number): StoredInputState[] => Array.from({ length: count }, (_, n) => row(n));
export const receipt = (sequence: number): RunBoundaryReceipt => ({
  runId: idOf(9999),
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 0n,
  sequence: BigInt(sequence),
});
