import type { MessageShape } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import type { StoreMaintenance, VerifyEvent } from "@bolthole/contract";
import { adminCodecs, grpcMethod } from "@bolthole/contract/wire";
import { storeError } from "./remote-transfer.js";

/** The copy or the check of a running daemon's store, over its socket. */
export class RemoteCare implements StoreMaintenance {
  private readonly client: Client;

  constructor(target: string) {
    this.client = new Client(target, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
  }

  backUp(): Promise<AsyncIterable<Uint8Array>> {
    const { method, decodeResponse } = adminCodecs.backup;
    return Promise.resolve(decodeResponse(this.call<MessageShape<typeof method.output>>(method)));
  }

  verify(): AsyncIterable<VerifyEvent> {
    const { method, decodeResponse } = adminCodecs.verify;
    return decodeResponse(this.call<MessageShape<typeof method.output>>(method));
  }

  close(): void {
    this.client.close();
  }

  /** Without a deadline: how long it takes is up to the store. */
  private async *call<Message>(method: Parameters<typeof grpcMethod>[0]): AsyncGenerator<Message> {
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const call = this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {});
    try {
      yield* call as AsyncIterable<Message>;
    } catch (error) {
      throw storeError(error);
    } finally {
      call.cancel();
    }
  }
}
