import { type StoreMaintenance, type VerifyEvent, readFailed } from "@bolthole/contract";
import type { CheckListener, CheckResult, Engine } from "../engine.js";

/** Of an engine that does not do it itself. */
const unsupported = (engine: Engine, what: string): Error =>
  readFailed(
    "UNSUPPORTED",
    engine.durable
      ? `the engine ${engine.name} keeps a database of its own kind: ${what} it with that database's tools`
      : `the engine ${engine.name} keeps nothing that could be used again`,
  );

/** One copy or check at a time: each reads the whole store. */
export function storeMaintenance(engine: Engine): StoreMaintenance {
  let isBusy = false;
  async function* alone<T>(work: () => Promise<AsyncIterable<T>> | AsyncIterable<T>): AsyncGenerator<T, void> {
    if (isBusy) throw readFailed("BUSY", "the store is being copied or checked for somebody else; try again later");
    isBusy = true;
    try {
      yield* await work();
    } finally {
      isBusy = false;
    }
  }
  return {
    backUp() {
      const backUp = engine.backUp?.bind(engine);
      if (!backUp) return Promise.reject(unsupported(engine, "back up"));
      return Promise.resolve(alone(backUp));
    },
    async *verify() {
      const check = engine.check?.bind(engine);
      if (!check) throw unsupported(engine, "check");
      yield* alone(() => verifyEvents(check));
    },
  };
}

/** A check's calls as a stream; when the reader leaves, the check is given up. */
export async function* verifyEvents(
  check: (listener: CheckListener) => Promise<CheckResult>,
): AsyncGenerator<VerifyEvent, void> {
  const over = new AbortController();
  const events: VerifyEvent[] = [];
  const state = { isDone: false, wake: (): void => undefined };
  const tell = (event: VerifyEvent): void => {
    events.push(event);
    state.wake();
  };
  const ended = check({
    signal: over.signal,
    onFinding: (finding) => {
      tell({ finding });
    },
    onRead: (bytesRead) => {
      tell({ bytesRead });
    },
  })
    .then(({ counts }) => {
      if (counts) tell({ counts });
    })
    .finally(() => {
      state.isDone = true;
      state.wake();
    });
  ended.catch(() => undefined);
  try {
    for (;;) {
      yield* events.splice(0);
      if (events.length > 0) continue;
      if (state.isDone) break;
      await new Promise<void>((resolve) => (state.wake = resolve));
    }
    await ended;
  } finally {
    over.abort();
  }
}
