import { type StoreMaintenance, type VerifyEvent, readFailed } from "@bolthole/contract";
import type { CheckListener, CheckResult, Engine } from "../engine.js";

/** The part of an engine that the maintenance of a store uses. */
type MaintainedEngine = Pick<Engine, "name" | "durable" | "backUp" | "check">;

/** Returns the error of an engine that has no backup or no check. */
const unsupported = (engine: MaintainedEngine, verb: "back up" | "check"): Error =>
  readFailed(
    "UNSUPPORTED",
    engine.durable
      ? `the engine ${engine.name} uses a shared database, which only the tools of that database ${verb}`
      : `the engine ${engine.name} keeps nothing on a disk: there is nothing to ${verb}`,
  );

/** Returns backup and verification of an engine. Only one of them runs at a time, because each reads the whole store. */
export function storeMaintenance(engine: MaintainedEngine): StoreMaintenance {
  let isBusy = false;
  async function* alone<T>(work: () => Promise<AsyncIterable<T>> | AsyncIterable<T>): AsyncGenerator<T, void> {
    if (isBusy) throw readFailed("BUSY", "another backup or verification is running; try again when it has ended");
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

/** Yields the calls of a check as events. The check is aborted when the reader stops reading. */
export async function* verifyEvents(
  check: (listener: CheckListener) => Promise<CheckResult>,
): AsyncGenerator<VerifyEvent, void> {
  const abort = new AbortController();
  const events: VerifyEvent[] = [];
  const state = { isDone: false, wake: (): void => undefined };
  const emit = (event: VerifyEvent): void => {
    const last = events.at(-1);
    // A slow reader gets the progress of several reads as one event. The number of findings is limited by the check.
    if (last && "bytesRead" in last && "bytesRead" in event) {
      events[events.length - 1] = { bytesRead: last.bytesRead + event.bytesRead };
    } else {
      events.push(event);
    }
    state.wake();
  };
  const ended = check({
    signal: abort.signal,
    onFinding: (finding) => {
      emit({ finding });
    },
    onRead: (bytesRead) => {
      emit({ bytesRead });
    },
  })
    .then(({ counts }) => {
      if (counts) emit({ counts });
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
    abort.abort();
  }
}
