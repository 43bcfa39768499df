import { once } from "node:events";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Client, type ClientWritableStream, type ServiceError, status } from "@grpc/grpc-js";
import { socketCredentials } from "@bolthole/client/socket";
import {
  type CompactionEvent,
  type ExportRuntime,
  type ExportedPart,
  type HorizonControl,
  type ImportResult,
  type ImportRuntime,
  type RequestIdTimes,
  type RuntimeTransfer,
  type SetHorizon,
  StoreError,
  type StoreMaintenance,
  type VerifyEvent,
} from "@bolthole/contract";
import { socketOf } from "../folder/state-files.js";
import { STATUS_DETAILS_KEY, adminCodecs, fromWireStatus, grpcMethod } from "@bolthole/contract/wire";

const SHORT_TIMEOUT_MS = 10_000;
/** How long a command waits. */
export interface Patience {
  /** A wait that is longer is reported on the standard error. */
  readonly noticeMs: number;
  /** The longest wait for a message of a stream, or until one was sent. */
  readonly progressMs: number;
}
const PATIENCE: Patience = { noticeMs: 10_000, progressMs: 10 * 60 * 1000 };
/** A message has one long row at most. The daemon is the operator's own, and every stored row must be exportable. */
const UNLIMITED = -1;
/** A daemon answers a ping within this time, however long a call takes, unless its process is stopped. */
const PING_MS = 10_000;

/** A part of a command that waits for the daemon, for its messages: what the daemon does, and whether it may change something. */
interface Step {
  readonly doing: string;
  readonly isChange?: true;
  /** Whether the daemon does all of its work before the first message, so that its time depends on the size of the store. */
  readonly beginsLate?: true;
  /** What to do when the response to a change is lost. */
  readonly advice?: string;
}

const COMPACTING: Step = {
  doing: "compacting the store",
  isChange: true,
  beginsLate: true,
  advice: "the data file may be a new one, with the same records; run the command again",
};

/** The backup, the check, the compaction, the runtime transfer and the horizon of a running daemon, over its socket. */
export class RemoteMaintenance implements StoreMaintenance, RuntimeTransfer, HorizonControl {
  private readonly client: Client;

  constructor(
    private readonly target: string,
    private readonly patience = PATIENCE,
  ) {
    this.client = new Client(target, socketCredentials(socketOf(target)), {
      "grpc.default_authority": "localhost",
      "grpc.max_receive_message_length": UNLIMITED,
      "grpc.keepalive_time_ms": PING_MS,
      "grpc.keepalive_timeout_ms": PING_MS,
    });
  }

  backUp(): Promise<AsyncIterable<Uint8Array>> {
    const { method, decodeResponse } = adminCodecs.backup;
    return Promise.resolve(decodeResponse(this.messages({ doing: "copying the store", beginsLate: true }, method, {})));
  }

  verify(): AsyncIterable<VerifyEvent> {
    const { method, decodeResponse } = adminCodecs.verify;
    return decodeResponse(this.messages({ doing: "checking the store" }, method, {}));
  }

  compact(): AsyncIterable<CompactionEvent> {
    const { method, decodeResponse } = adminCodecs.compact;
    return decodeResponse(this.messages(COMPACTING, method, {}));
  }

  exportRuntime(request: ExportRuntime): Promise<AsyncIterable<ExportedPart> | undefined> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.exportRuntime;
    const step = { doing: `exporting the runtime ${JSON.stringify(request.runtimeId)}` };
    return decodeResponse(this.messages(step, method, encodeRequest(request)));
  }

  async importRuntime(request: ImportRuntime): Promise<ImportResult> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.importRuntime;
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const step: Step = { doing: `importing the runtime ${JSON.stringify(request.runtimeId)}`, isChange: true };
    await this.connected(step);
    const ended = new AbortController();
    let call: ClientWritableStream<MessageInitShape<typeof method.input>> | undefined;
    const wait = new Wait(this.target, step, this.patience, () => call?.cancel());
    const response = new Promise<MessageShape<typeof method.output>>((resolve, reject) => {
      call = this.client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, (error, message) => {
        ended.abort();
        if (message) resolve(message);
        else reject(this.errorOf(error ?? new Error("the daemon ended the call without a response"), step));
      });
    });
    const send = async (): Promise<void> => {
      for await (const message of encodeRequest(request)) {
        if (ended.signal.aborted) return;
        if (!call?.write(message)) await once(call as never, "drain", { signal: ended.signal }).catch(() => undefined);
        wait.progressed();
      }
      call?.end();
    };
    // An error of the parts themselves ends the import, which changes nothing without their end.
    const failed = send().catch((error: unknown) => {
      call?.cancel();
      throw error;
    });
    try {
      return decodeResponse(await Promise.race([response, failed.then(() => response)]));
    } finally {
      wait.end();
      // The source of the parts is not used any more when this returns.
      await failed.catch(() => undefined);
      await response.catch(() => undefined);
    }
  }

  async setHorizon(request: SetHorizon): Promise<RequestIdTimes> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.setHorizon;
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const message = encodeRequest(request);
    const advice = "show the horizon, and set it again if it is the old one";
    const step: Step = { doing: "setting the horizon", isChange: true, advice };
    await this.connected(step);
    const response = await new Promise<MessageShape<typeof method.output>>((resolve, reject) => {
      const options = { deadline: Date.now() + SHORT_TIMEOUT_MS };
      this.client.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, options, (error, received) => {
        if (received) resolve(received);
        else reject(this.errorOf(error, step));
      });
    });
    return decodeResponse(response);
  }

  close(): void {
    this.client.close();
  }

  /** Resolves when the daemon answers. */
  private connected({ doing }: Step): Promise<void> {
    return new Promise((resolve, reject) => {
      this.client.waitForReady(Date.now() + SHORT_TIMEOUT_MS, (cause) => {
        if (!cause) resolve();
        else reject(this.lost({ doing: `connecting to it, before ${doing}` }, cause));
      });
    });
  }

  /** Returns the error of a call whose response was lost. */
  private lost({ doing, isChange, advice }: Step, cause: unknown): StoreError {
    const isLate = (cause as Partial<ServiceError>).code === status.DEADLINE_EXCEEDED;
    const what = isLate ? "does not answer in time" : "does not answer: its process may be stopped, or has ended";
    const text = `the daemon at ${this.target} ${what}, while ${doing}`;
    return isChange
      ? new StoreError(
          "WriteFailed",
          "OUTCOME_UNKNOWN",
          `${text}; the change may have been applied${advice === undefined ? "" : `: ${advice}`}`,
          { cause },
        )
      : new StoreError(
          "ReadFailed",
          "UNAVAILABLE",
          `${text}; nothing was changed by this call; repeat the command when a daemon serves the store, or stop it`,
          { cause },
        );
  }

  /** Returns the store error of a failed call. */
  private errorOf(error: unknown, step: Step): StoreError {
    return isLost(error) ? this.lost(step, error) : storeErrorOfStatus(error);
  }

  /**
   * Yields the response messages of a call. The whole call has no deadline: its duration depends on the size of the store, or of a
   * runtime. A daemon whose process is stopped is found by pings, and a stream that makes no progress is ended.
   */
  private async *messages<I extends DescMessage, O extends DescMessage>(
    step: Step,
    method: DescMethod & { readonly input: I; readonly output: O },
    request: MessageInitShape<I>,
  ): AsyncGenerator<MessageShape<O>> {
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    await this.connected(step);
    const call = this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    const wait = new Wait(this.target, step, this.patience, () => {
      call.cancel();
    });
    try {
      for await (const message of call as AsyncIterable<MessageShape<O>>) {
        wait.progressed();
        yield message;
        // The time that the reader took is none of the daemon's.
        wait.progressed();
      }
    } catch (error) {
      throw this.errorOf(error, step);
    } finally {
      wait.end();
      call.cancel();
    }
  }
}

/** Reports on the standard error what a command waits for, and ends a stream that makes no progress. */
class Wait {
  private last = performance.now();
  private isLimited: boolean;
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly target: string,
    private readonly step: Step,
    private readonly patience: Patience,
    private readonly giveUp?: () => void,
  ) {
    this.isLimited = !step.beginsLate;
    this.timer = setInterval(() => {
      this.look();
    }, patience.noticeMs);
  }

  progressed(): void {
    this.last = performance.now();
    this.isLimited = true;
  }

  end(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    const silentMs = performance.now() - this.last;
    const { noticeMs, progressMs } = this.patience;
    if (silentMs < noticeMs) return;
    const seconds = String(Math.round(silentMs / 1000));
    process.stderr.write(
      `bolthole: waiting for the daemon at ${this.target}: ${this.step.doing}, no message for ${seconds} s\n`,
    );
    if (this.isLimited && silentMs >= progressMs) this.giveUp?.();
  }
}

/** The status codes with which grpc-js reports that a response was lost. */
const LOST: readonly (number | undefined)[] = [
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
];

/** Whether the response was lost, and the daemon itself returned nothing. */
const isLost = (error: unknown): boolean => {
  const { code, metadata } = error as Partial<ServiceError>;
  return LOST.includes(code) && metadata?.get(STATUS_DETAILS_KEY).length === 0;
};

/** Returns the store error that a gRPC status carries, or an INTERNAL error when it carries none. */
function storeErrorOfStatus(error: unknown): StoreError {
  const [details] = (error as Partial<ServiceError>).metadata?.get(STATUS_DETAILS_KEY) ?? [];
  const carried = details instanceof Buffer ? fromWireStatus(details) : undefined;
  if (carried) return carried;
  return error instanceof StoreError ? error : new StoreError("Internal", "INTERNAL", String(error), { cause: error });
}
