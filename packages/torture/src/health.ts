import { Client, credentials } from "@grpc/grpc-js";
import { Health, HealthCheckResponse_ServingStatus, grpcMethod } from "@bolthole/contract/wire";

const WAIT_MS = 1000;

/** Asks a daemon for its health. */
export class HealthProbe {
  private readonly client: Client;

  constructor(target: string) {
    this.client = new Client(target, credentials.createInsecure(), {
      "grpc.default_authority": "localhost",
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 100,
    });
  }

  /** A daemon that does not answer does not serve. */
  isServing(): Promise<boolean> {
    const { path, requestSerialize, responseDeserialize } = grpcMethod(Health.method.check);
    return new Promise((resolve) => {
      const deadline = Date.now() + WAIT_MS;
      this.client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, { deadline }, (_error, answer) => {
        resolve(answer?.status === HealthCheckResponse_ServingStatus.SERVING);
      });
    });
  }

  close(): void {
    this.client.close();
  }
}
