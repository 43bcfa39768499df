import { openSync, readSync } from "node:fs";

/*
 * A preload script that moves the clocks of one process, and not those of the machine. The file that `TORTURE_CLOCK` names has two
 * numbers, in milliseconds: the offset of the wall clock and that of the monotonic clock. They are read whenever the time is asked
 * for, so that a jump takes effect immediately. Time that passes (an offset of the monotonic clock that grows) makes
 * the repeating timers fire that would have fired, once.
 */

/** The variable that names the file. */
export const CLOCK_VARIABLE = "TORTURE_CLOCK";
/** Two 64-bit floats. */
export const CLOCK_BYTES = 16;

const POLL_MS = 20;
/** Shorter intervals fire soon enough by themselves. */
const SHORTEST_INTERVAL_MS = 1000;

interface PassedInterval {
  readonly fire: () => void;
  readonly delayMs: number;
  firedAtMs: number;
}

function moveClocks(path: string): void {
  const fd = openSync(path, "r");
  const bytes = Buffer.alloc(CLOCK_BYTES);
  const offset = (at: 0 | 8): number => {
    readSync(fd, bytes, 0, CLOCK_BYTES, 0);
    return bytes.readDoubleLE(at);
  };
  const wall = Date.now.bind(Date);
  const monotonic = performance.now.bind(performance);
  const now = (): number => Math.floor(wall() + offset(0));
  const monotonicNow = (): number => monotonic() + offset(8);
  Date.now = now;
  globalThis.Date = new Proxy(Date, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
  });
  Object.defineProperty(performance, "now", { value: monotonicNow, configurable: true, writable: true });

  const intervals = new Map<unknown, PassedInterval>();
  const { setInterval: start, clearInterval: end } = globalThis;
  const startObserved = (callback: () => void, delayMs = 1, ...args: []): NodeJS.Timeout => {
    const timer = start(callback, delayMs, ...args);
    if (delayMs >= SHORTEST_INTERVAL_MS) intervals.set(timer, { fire: callback, delayMs, firedAtMs: offset(8) });
    return timer;
  };
  const endObserved = (timer: Parameters<typeof end>[0]): void => {
    intervals.delete(timer);
    end(timer);
  };
  Object.assign(globalThis, { setInterval: startObserved, clearInterval: endObserved });
  start(() => {
    const passed = offset(8);
    for (const interval of intervals.values()) {
      if (passed - interval.firedAtMs < interval.delayMs) continue;
      interval.firedAtMs = passed;
      interval.fire();
    }
  }, POLL_MS).unref();
}

const path = process.env[CLOCK_VARIABLE];
if (path !== undefined) moveClocks(path);
