import { EventEmitter } from "node:events";
import type { ServerHttp2Stream } from "node:http2";
import { readFailed, writeFailed } from "@bolthole/contract";
import { ByteBudget } from "./byte-budget.js";
import { type RequestMemory, countRequest, requestMemoryOf } from "./request-memory.js";

const LIMITS = { total: 2_000_000, connection: 1_000_000, reserve: 0 };

let budget: ByteBudget;
let closed: number;
beforeEach(() => {
  budget = new ByteBudget(LIMITS);
  closed = 0;
});

function request(connection: object): { readonly memory: RequestMemory; readonly close: () => void } {
  const stream = new EventEmitter();
  countRequest(stream as unknown as ServerHttp2Stream, budget.shareOf(connection), () => (closed += 1));
  const memory = requestMemoryOf(stream as unknown as ServerHttp2Stream);
  if (!memory) throw new Error("expected the memory of the request");
  return { memory, close: () => stream.emit("close") };
}

test("the memory of decoded messages is held until the stream is closed and no handler works on it", () => {
  const { memory, close } = request({});
  const release = memory.hold();
  memory.takeDecoded(300_000, writeFailed);
  memory.takeDecoded(100_000, writeFailed);
  memory.giveBackDecoded(100_000);
  close();
  expect([budget.bytes, closed]).toEqual([300_000, 0]);
  release();
  expect([budget.bytes, closed]).toEqual([0, 1]);
});

/** Returns the error that a function throws. */
function errorOf(act: () => void): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

test("a request whose objects need more than half of a connection's share is too large", () => {
  const { memory } = request({});
  memory.takeDecoded(400_000, writeFailed);
  const error = errorOf(() => {
    memory.takeDecoded(100_001, writeFailed);
  });
  expect(error).toMatchObject({
    reason: "TOO_LARGE",
    variant: "WriteFailed",
    subject: { record: "request", expected: "at most 500000 bytes" },
  });
  expect(budget.bytes).toBe(400_000);
});

test("a request is refused as BUSY while others hold the memory", () => {
  const connection = {};
  const [first, second, third] = [request(connection), request(connection), request(connection)];
  first.memory.takeDecoded(500_000, readFailed);
  second.memory.takeDecoded(400_000, readFailed);
  const take = (): void => {
    third.memory.takeDecoded(200_000, readFailed);
  };
  expect(errorOf(take)).toMatchObject({ reason: "BUSY", variant: "ReadFailed" });
  first.close();
  take();
  expect(budget.bytes).toBe(600_000);
});
