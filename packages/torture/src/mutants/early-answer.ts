import { setTimeout as sleep } from "node:timers/promises";
import { methodsOf, patchModule } from "./patch-module.js";

type Put = readonly [key: Buffer, value: Buffer | undefined];
interface Pair {
  readonly key: Buffer;
  readonly value: Buffer;
}
interface Reading {
  get(key: Buffer): Buffer | undefined;
  range(start: Buffer, end: Buffer): Iterable<Pair>;
}

const DELAY_MS = 30;

// Responds immediately and commits 30 ms later. Readers see the uncommitted rows, so only a fault in that time reveals it.
const pending = new Map<string, Put>();
const nameOf = (key: Buffer): string => key.toString("latin1");

function* merged(pairs: Iterable<Pair>, start: Buffer, end: Buffer): Iterable<Pair> {
  const all = new Map<string, Pair>();
  for (const pair of pairs) all.set(nameOf(pair.key), pair);
  for (const [name, [key, value]] of pending) {
    if (key.compare(start) < 0 || key.compare(end) >= 0) continue;
    if (value) all.set(name, { key, value });
    else all.delete(name);
  }
  yield* [...all.values()].sort((a, b) => a.key.compare(b.key));
}

patchModule(
  (request) => request === "./environment.js",
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "Environment", "get", "read", "write");
    const get = methods["get"] as (this: object, key: Buffer) => Buffer | undefined;
    const read = methods["read"] as (this: object) => Reading;
    const write = methods["write"] as (this: object, puts: readonly Put[]) => Promise<void>;
    const overlaid = (key: Buffer, stored: () => Buffer | undefined): Buffer | undefined => {
      const put = pending.get(nameOf(key));
      return put ? put[1] : stored();
    };
    let written = Promise.resolve();
    const changed: Record<string, unknown> = {
      get(this: object, key: Buffer) {
        return overlaid(key, () => get.call(this, key));
      },
      read(this: object): Reading {
        const reading = read.call(this);
        return {
          ...reading,
          get: (key) => overlaid(key, () => reading.get(key)),
          range: (start, end) => merged(reading.range(start, end), start, end),
        };
      },
      write(this: object, puts: readonly Put[]) {
        for (const put of puts) pending.set(nameOf(put[0]), put);
        written = written.then(async () => {
          await sleep(DELAY_MS);
          await write.call(this, puts);
          for (const put of puts) if (pending.get(nameOf(put[0])) === put) pending.delete(nameOf(put[0]));
        });
        return Promise.resolve();
      },
    };
    Object.assign(methods, changed);
    return undefined;
  },
);
