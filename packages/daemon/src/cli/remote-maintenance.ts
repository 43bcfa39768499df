import { once } from "node:events";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Client, type ServiceError, credentials, status } from "@grpc/grpc-js";
import {
  type ExportRuntime,
  type ExportedRuntime,
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
import { STATUS_DETAILS_KEY, adminCodecs, fromWireStatus, grpcMethod } from "@bolthole/contract/wire";

/** Long enough for a runtime of hundreds of megabytes on a slow disk. */
const TRANSFER_TIMEOUT_MS = 10 * 60 * 1000;
const SHORT_TIMEOUT_MS = 10_000;
/** A message has one long row at most. The daemon is the operator's own, and every stored row must be exportable. */
const UNLIMITED = -1;
/** A daemon answers a ping within this time, however long a call takes, unless its process is stopped. */
const PING_MS = 10_000;

/** The backup, the check, the runtime transfer and the horizon of a running daemon, over its socket. */
export class RemoteMaintenance implements StoreMaintenance, RuntimeTransfer, HorizonControl {
  private readonly client: Client;

  constructor(private readonly target: string) {
    this.client = new Client(target, credentials.createInsecure(), {
      "grpc.default_authority": "localhost",
      "grpc.max_receive_message_length": UNLIMITED,
      "grpc.keepalive_time_ms": PING_MS,
      "grpc.keepalive_timeout_ms": PING_MS,
    });
  }

  backUp(): Promise<AsyncIterable<Uint8Array>> {
    const { method, decodeResponse } = adminCodecs.backup;
    return Promise.resolve(decodeResponse(this.messages(method, {})));
  }

  verify(): AsyncIterable<VerifyEvent> {
    const { method, decodeResponse } = adminCodecs.verify;
    return decodeResponse(this.messages(method, {}));
  }

  async exportRuntime(request: ExportRuntime): Promise<ExportedRuntime | undefined> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.exportRuntime;
    const contents = await decodeResponse(this.messages(method, encodeRequest(request), TRANSFER_TIMEOUT_MS));
    return contents && { ...contents, runtimeId: request.runtimeId };
  }

  async importRuntime(request: ImportRuntime): Promise<ImportResult> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.importRuntime;
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    await this.connected();
    const ended = new AbortController();
    const response = new Promise<MessageShape<typeof method.output>>((resolve, reject) => {
      const call = this.client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { deadline: Date.now() + TRANSFER_TIMEOUT_MS },
        (error: ServiceError | null, message?: MessageShape<DescMessage>) => {
          ended.abort();
          if (message) resolve(message as MessageShape<typeof method.output>);
          else reject(error ?? new Error("the daemon ended the call without a response"));
        },
      );
      const send = async (): Promise<void> => {
        for await (const part of encodeRequest(request)) {
          if (ended.signal.aborted) return;
          if (!call.write(part)) await once(call, "drain", { signal: ended.signal }).catch(() => undefined);
        }
        call.end();
      };
      send().catch(reject);
    });
    try {
      return decodeResponse(await response);
    } catch (error) {
      throw storeErrorOfStatus(error);
    }
  }

  async setHorizon(request: SetHorizon): Promise<RequestIdTimes> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.setHorizon;
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const message = encodeRequest(request);
    await this.connected();
    const response = await new Promise<MessageShape<typeof method.output>>((resolve, reject) => {
      const options = { deadline: Date.now() + SHORT_TIMEOUT_MS };
      this.client.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, options, (error, received) => {
        if (received) resolve(received);
        else reject(storeErrorOfStatus(error));
      });
    });
    return decodeResponse(response);
  }

  close(): void {
    this.client.close();
  }

  /** Resolves when the daemon answers. */
  private connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.client.waitForReady(Date.now() + SHORT_TIMEOUT_MS, (error) => {
        if (!error) resolve();
        else reject(this.silent(error));
      });
    });
  }

  private silent(cause: unknown): StoreError {
    const text = `the daemon at ${this.target} does not answer: its process may be stopped; nothing was changed by this call`;
    return new StoreError("ReadFailed", "UNAVAILABLE", text, { cause });
  }

  /** Returns the store error of a failed call. */
  private errorOf(error: unknown): StoreError {
    return isUnavailable(error) ? this.silent(error) : storeErrorOfStatus(error);
  }

  /** Yields the response messages of a call. Without `timeoutMs` there is no deadline: the duration depends on the store's size. */
  private async *messages<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { readonly input: I; readonly output: O },
    request: MessageInitShape<I>,
    timeoutMs?: number,
  ): AsyncGenerator<MessageShape<O>> {
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    await this.connected();
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
    const call = this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, options);
    try {
      yield* call as AsyncIterable<MessageShape<O>>;
    } catch (error) {
      throw this.errorOf(error);
    } finally {
      call.cancel();
    }
  }
}

/** Whether the connection was lost, and the daemon itself returned nothing. */
const isUnavailable = (error: unknown): boolean => {
  const { code, metadata } = error as Partial<ServiceError>;
  return code === status.UNAVAILABLE && metadata?.get(STATUS_DETAILS_KEY).length === 0;
};

/** Returns the store error that a gRPC status carries, or an INTERNAL error when it carries none. */
function storeErrorOfStatus(error: unknown): StoreError {
  const [details] = (error as Partial<ServiceError>).metadata?.get(STATUS_DETAILS_KEY) ?? [];
  const carried = details instanceof Buffer ? fromWireStatus(details) : undefined;
  if (carried) return carried;
  return error instanceof StoreError ? error : new StoreError("Internal", "INTERNAL", String(error), { cause: error });
}
