import { PassThrough } from "node:stream";
import { create, toBinary } from "@bufbuild/protobuf";
import type { ServerReadableStream } from "@grpc/grpc-js";
import { RuntimeStoreService } from "@bolthole/contract/wire";
import { type ReceivedMessage, receive, receiveAll } from "./call-messages.js";

const MINUTE_MS = 60_000;

/** A call whose messages name runtimes. */
function callOf(): { readonly stream: PassThrough; readonly messages: AsyncGenerator } {
  const stream = new PassThrough({ objectMode: true });
  const slices = { spend: () => undefined, yield: () => Promise.resolve() };
  const call = stream as unknown as ServerReadableStream<ReceivedMessage, object>;
  return { stream, messages: receiveAll(call, () => slices) };
}

const desc = RuntimeStoreService.method.loadSessionSnapshot.input;
const valueOf = (serial: number): object => create(desc, { runtimeId: String(serial) });
const messageOf = (serial: number): ReceivedMessage =>
  receive(desc)(Buffer.from(toBinary(desc, valueOf(serial) as never)));

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ["nextTick", "setImmediate", "queueMicrotask"] });
});
afterEach(() => {
  jest.useRealTimers();
});

test("a store that works on a message for minutes does not cut off a client that has sent the next ones", async () => {
  const { stream, messages } = callOf();
  stream.write(messageOf(1));
  expect(await messages.next()).toEqual({ done: false, value: valueOf(1) });
  stream.write(messageOf(2));
  jest.advanceTimersByTime(10 * MINUTE_MS);
  expect(await messages.next()).toEqual({ done: false, value: valueOf(2) });
  stream.end();
  jest.advanceTimersByTime(10 * MINUTE_MS);
  expect(await messages.next()).toEqual({ done: true, value: undefined });
});

test("a client that sends nothing for a minute is cut off", async () => {
  const { stream, messages } = callOf();
  stream.write(messageOf(1));
  await messages.next();
  const next = messages.next();
  // The generator continues in a later step of the event loop.
  await new Promise(setImmediate);
  jest.advanceTimersByTime(2 * MINUTE_MS);
  await expect(next).rejects.toMatchObject({ reason: "CANCELLED" });
  expect(stream.destroyed).toBe(true);
});

test("a client that sends little for long is cut off, and one that sends enough is not", async () => {
  for (const [bytes, isCutOff] of [
    [100, true],
    [400_000, false],
  ] as const) {
    const { stream, messages } = callOf();
    const message = receive(desc)(Buffer.from(toBinary(desc, create(desc, { runtimeId: "x".repeat(bytes) }))));
    let error: unknown;
    for (let serial = 0; serial < 10 && error === undefined; serial += 1) {
      const next = messages.next().catch((reason: unknown) => (error = reason));
      await new Promise(setImmediate);
      // Less than the time that a client may rest.
      jest.advanceTimersByTime(MINUTE_MS / 3);
      await new Promise(setImmediate);
      if (!stream.destroyed) stream.write(message);
      await next;
    }
    expect([bytes, stream.destroyed]).toEqual([bytes, isCutOff]);
    if (isCutOff) expect(error).toMatchObject({ reason: "CANCELLED" });
    stream.destroy();
    await messages.return(undefined);
  }
});
