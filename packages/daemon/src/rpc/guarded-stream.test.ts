import type { ServerHttp2Stream } from "node:http2";
import { Duplex } from "node:stream";
import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { ByteBudget } from "./byte-budget.js";
import { GuardedStream, type StreamTimes } from "./guarded-stream.js";
import { MessageReader } from "./message-reader.js";

const TIMES: StreamTimes = { message: 10_000, receive: 10_000, end: 2_000, checks: 1_000 };

const START = 1_700_000_000_000;

beforeEach(() => {
  jest.spyOn(Date, "now").mockReturnValue(START);
});

afterEach(() => {
  jest.restoreAllMocks();
});

/** A request of which nothing arrives, and the statuses of its responses. */
function newRequest(isUnread: () => boolean): { guarded: GuardedStream; responses: object[] } {
  const responses: object[] = [];
  const stream = Object.assign(new Duplex({ read: () => undefined, write: () => undefined }), {
    respond: (headers: object) => responses.push(headers),
    close: () => undefined,
  });
  const budget = new ByteBudget({ total: 1000, connection: 1000, reserve: 0 });
  const reader = new MessageReader(100, budget.shareOf({}));
  const guarded = new GuardedStream(stream as unknown as ServerHttp2Stream, undefined, reader, budget, isUnread);
  return { guarded, responses };
}

/** Checks a request once a second, and returns after how many seconds it was ended. */
async function secondsUntilEnded(isUnread: (second: number) => boolean): Promise<number> {
  let second = 0;
  const { guarded, responses } = newRequest(() => isUnread(second));
  for (; second < 200 && responses.length === 0; second += 1) {
    guarded.check(START + second * 1000, TIMES);
    await nextLoopIteration();
  }
  return second;
}

test("a request that does not arrive is ended, and has more time while its connection waits to be read", async () => {
  const ended = await secondsUntilEnded(() => false);
  expect(ended).toBeGreaterThan(TIMES.message / 1000);
  expect((await secondsUntilEnded((second) => second <= 20)) - ended).toBe(20);
});

test("a client that always sends something else has a minute more", async () => {
  const ended = await secondsUntilEnded(() => false);
  expect((await secondsUntilEnded(() => true)) - ended).toBe(60);
});
