import { createHash } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import {
  OutcomeUnknownError,
  type RunBoundaryReceipt,
  RuntimeStoreAdapter,
  type SessionChange,
  type StoredInputState,
  type VersionedStore,
} from "@bolthole/contract";
import { DEFAULT_LIMITS, MemoryEngine, createEngineStore } from "@bolthole/core";
import { failureOf } from "../failure.test.helper.js";
import { createDeltaStore } from "./delta-store.js";

export const RT = "runtime";
export const MIB = 1024 * 1024;
const OPTIONS = {
  heldDocumentBytes: 64 * MIB,
  knownInputBytes: MIB,
  timeoutMs: 10_000,
  maxMessageBytes: 33 * MIB,
};

/** What went over the line for one call. */
interface Sent {
  readonly method: string;
  readonly requestId: string;
  readonly document: "patch" | "whole" | "upload" | undefined;
  readonly expected: string | undefined;
  /** The numbers of the rows that travelled. */
  readonly rows: readonly number[];
  readonly unchanged: boolean;
}

interface AnyRequest {
  readonly requestId?: string;
  readonly sessionDelta?: SessionChange;
  readonly replacement?: SessionChange;
  readonly expected?: object;
  readonly inputUpdates?: readonly StoredInputState[];
  readonly inputStates?: readonly StoredInputState[];
  readonly unchangedInputs?: object;
}

const formOf = (change: SessionChange | undefined): Sent["document"] =>
  change && ("patch" in change ? "patch" : "uploadId" in change ? "upload" : "whole");

/** A line to a store: it makes request ids as the gRPC store does, notes what is sent, and loses answers when told to. */
class Line {
  readonly sent: Sent[] = [];
  loseAnswers = 0;
  readonly store: VersionedStore;

  constructor(private readonly behind: VersionedStore) {
    this.store = new Proxy(behind, {
      get: (target, name: keyof VersionedStore) => (request: AnyRequest) =>
        name === "getServerInfo" || name === "uploadSessionSnapshot" || name.startsWith("load")
          ? (target[name] as (request: object) => unknown)(request)
          : this.send(name, { ...request, requestId: request.requestId ?? uuidv7() }),
    });
  }

  take(): Sent[] {
    return this.sent.splice(0);
  }

  private async send(
    name: keyof VersionedStore,
    request: AnyRequest & { readonly requestId: string },
  ): Promise<unknown> {
    this.sent.push({
      method: name,
      requestId: request.requestId,
      document: formOf(request.sessionDelta ?? request.replacement),
      expected: request.expected && Object.keys(request.expected)[0],
      rows: (request.inputUpdates ?? request.inputStates ?? []).map(({ inputId }) => Number(inputId.slice(-6))),
      unchanged: request.unchangedInputs !== undefined,
    });
    const answer = await (this.behind[name] as (request: object) => Promise<unknown>)(request);
    // A miss changes nothing and is kept nowhere: losing one proves nothing.
    if (this.loseAnswers === 0 || answer === undefined) return answer;
    this.loseAnswers -= 1;
    throw new OutcomeUnknownError(request.requestId, "lost");
  }
}

/** A store in memory, and clients of it that send what changed. */
export class Site {
  private readonly engine = new MemoryEngine();
  readonly plain = createEngineStore(this.engine);

  client(options: Partial<typeof OPTIONS> = {}): { line: Line; versioned: VersionedStore; store: RuntimeStoreAdapter } {
    const line = new Line(this.plain);
    const versioned = createDeltaStore(line.store, DEFAULT_LIMITS, { ...OPTIONS, ...options });
    return { line, versioned, store: new RuntimeStoreAdapter(versioned, this.engine.storeId) };
  }

  async document(): Promise<string> {
    const loaded = await this.plain.loadSessionSnapshot({ runtimeId: RT });
    const chunks: Uint8Array[] = [];
    for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
    return Buffer.concat(chunks).toString("latin1");
  }
}

/** Bytes of another runtime's making, the same for the same seed. */
export function bytesOf(seed: string, length = 100_000): Buffer {
  const parts: string[] = [];
  for (let n = 0; n * 44 < length; n++) parts.push(createHash("sha256").update(`${seed} ${n}`).digest("base64"));
  return Buffer.from(parts.join("").slice(0, length));
}

export const with_ = (document: Buffer, text: string): Buffer => Buffer.concat([document, Buffer.from(text)]);
export const delta = (sessionSnapshot: Uint8Array) => ({ sessionSnapshot, profile: "opaque" }) as const;
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

/** The error of a call whose answer was lost. */
export async function lossOf(call: Promise<unknown>): Promise<OutcomeUnknownError> {
  const error = await failureOf(call);
  if (error instanceof OutcomeUnknownError) return error;
  throw error;
}
