import { once } from "node:events";
import type { ImportRuntime } from "@bolthole/contract";
import { adminCodecs, grpcMethod } from "@bolthole/contract/wire";
import { Client, credentials } from "@grpc/grpc-js";

const CALL_MS = 120_000;

/** Imports runtimes into a daemon through its AdminService. */
export class RuntimeImport {
  private readonly client: Client;

  constructor(target: string) {
    this.client = new Client(target, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
  }

  async run(request: ImportRuntime): Promise<void> {
    const { method, encodeRequest } = adminCodecs.importRuntime;
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const ended = new AbortController();
    let sending: Promise<void> | undefined;
    await new Promise<void>((resolve, reject) => {
      const options = { deadline: Date.now() + CALL_MS };
      const call = this.client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        options,
        (error) => {
          ended.abort();
          if (error) reject(error);
          else resolve();
        },
      );
      const send = async (): Promise<void> => {
        for await (const part of encodeRequest(request)) {
          if (ended.signal.aborted) return;
          if (!call.write(part)) await once(call, "drain", { signal: ended.signal }).catch(() => undefined);
        }
        call.end();
      };
      sending = send();
      sending.catch(reject);
    });
    await sending;
  }

  close(): void {
    this.client.close();
  }
}
