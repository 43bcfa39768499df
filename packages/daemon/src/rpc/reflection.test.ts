import { Duplex } from "node:stream";
import type { Server, ServerDuplexStream } from "@grpc/grpc-js";
import { RuntimeStoreService } from "@bolthole/contract/wire";
import { registerReflection } from "./reflection.js";

type Handler = (call: ServerDuplexStream<object, object>) => void;

/** The handlers of both versions of the service. */
function handlers(): Handler[] {
  const found: Handler[] = [];
  const addService = (_service: unknown, { ServerReflectionInfo }: { ServerReflectionInfo: Handler }): void => {
    found.push(ServerReflectionInfo);
  };
  registerReflection({ addService } as unknown as Server, [RuntimeStoreService.file]);
  return found;
}

const request = { fileContainingSymbol: "bolthole.v1.RuntimeStoreService", messageRequest: "fileContainingSymbol" };
const steps = async (): Promise<void> => {
  for (let step = 0; step < 20; step += 1) await new Promise(setImmediate);
};

test("the next request is taken when the response to the last one was received", async () => {
  const [v1, v1alpha] = handlers();
  for (const handle of [v1, v1alpha]) {
    const received: (() => void)[] = [];
    let responses = 0;
    const call = new Duplex({
      objectMode: true,
      read: () => undefined,
      write: (response: { readonly fileDescriptorResponse?: unknown }, _encoding, done) => {
        expect(response.fileDescriptorResponse).toBeDefined();
        responses += 1;
        received.push(done);
      },
    });
    for (let count = 0; count < 100; count += 1) call.push(request);
    call.push(null);
    handle?.(call as unknown as ServerDuplexStream<object, object>);
    await steps();
    expect(responses).toBe(1);
    for (let count = 1; count <= 100; count += 1) {
      expect([count, responses]).toEqual([count, count]);
      received.shift()?.();
      await steps();
    }
    expect(call.writableFinished).toBe(true);
  }
});
