import { once } from "node:events";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Client, type ServiceError, credentials } from "@grpc/grpc-js";
import { type RuntimeTransfer, StoreError } from "@bolthole/contract";
import { STATUS_DETAILS_KEY, adminCodecs, fromWireStatus, grpcMethod } from "@bolthole/contract/wire";

/** For a runtime of hundreds of megabytes on a slow disk. */
const WAIT_MS = 10 * 60 * 1000;
const MAX_MESSAGE_BYTES = 33 * 1024 * 1024;

/** Whole runtimes in and out of a running daemon, over its socket. */
export class RemoteTransfer implements RuntimeTransfer {
  private readonly client: Client;

  constructor(target: string) {
    this.client = new Client(target, credentials.createInsecure(), {
      "grpc.default_authority": "localhost",
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    });
  }

  async exportRuntime(
    request: Parameters<RuntimeTransfer["exportRuntime"]>[0],
  ): ReturnType<RuntimeTransfer["exportRuntime"]> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.exportRuntime;
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const call = this.client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      encodeRequest(request),
      {
        deadline: Date.now() + WAIT_MS,
      },
    );
    try {
      const contents = await decodeResponse(call as AsyncIterable<MessageShape<typeof method.output>>);
      return contents && { ...contents, runtimeId: request.runtimeId };
    } catch (error) {
      throw storeError(error);
    } finally {
      call.cancel();
    }
  }

  async importRuntime(
    request: Parameters<RuntimeTransfer["importRuntime"]>[0],
  ): ReturnType<RuntimeTransfer["importRuntime"]> {
    const { method, encodeRequest, decodeResponse } = adminCodecs.importRuntime;
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const over = new AbortController();
    const answer = new Promise<MessageShape<typeof method.output>>((resolve, reject) => {
      const call = this.client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { deadline: Date.now() + WAIT_MS },
        (error: ServiceError | null, message?: MessageShape<DescMessage>) => {
          over.abort();
          if (message) resolve(message as MessageShape<typeof method.output>);
          else reject(error ?? new Error("the daemon gave no answer"));
        },
      );
      const send = async (): Promise<void> => {
        for await (const part of encodeRequest(request)) {
          if (over.signal.aborted) return;
          if (!call.write(part)) await once(call, "drain", { signal: over.signal }).catch(() => undefined);
        }
        call.end();
      };
      send().catch(reject);
    });
    try {
      return decodeResponse(await answer);
    } catch (error) {
      throw storeError(error);
    }
  }

  close(): void {
    this.client.close();
  }
}

/** The daemon's own error, where a status carries one. */
export function storeError(error: unknown): unknown {
  const [details] = (error as Partial<ServiceError>).metadata?.get(STATUS_DETAILS_KEY) ?? [];
  const carried = details instanceof Buffer ? fromWireStatus(details) : undefined;
  return (
    carried ??
    (error instanceof StoreError ? error : new StoreError("Internal", "INTERNAL", String(error), { cause: error }))
  );
}
