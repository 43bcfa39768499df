import {
  type CompactionEvent,
  type Finding,
  type StoreMaintenance,
  type VerifyEvent,
  readFailed,
} from "@bolthole/contract";
import type { CheckListener, CheckResult, Engine } from "../engine.js";
import { BackupCopies } from "./backup-copies.js";

/** The part of an engine that the maintenance of a store uses. */
export type MaintainedEngine = Pick<Engine, "name" | "durable" | "stats" | "backUp" | "check" | "compact">;

interface BytesRead {
  readonly bytesRead: number;
}

/** Returns the error of an engine that has no backup, no check or no compaction. */
const unsupported = (engine: MaintainedEngine, verb: "back up" | "check" | "compact"): Error =>
  readFailed(
    "UNSUPPORTED",
    engine.durable
      ? `the engine ${engine.name} uses a shared database, which only the tools of that database ${verb}`
      : `the engine ${engine.name} keeps nothing on a disk: there is nothing to ${verb}`,
  );

/** Returns the maintenance of an engine. One backup is made, or one check or compaction runs, at a time: each reads the whole store. */
export function storeMaintenance(engine: MaintainedEngine): StoreMaintenance {
  let isBusy = false;
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isBusy) {
      throw readFailed("BUSY", "another backup, verification or compaction is running; try again when it has ended");
    }
    isBusy = true;
    try {
      return await work();
    } finally {
      isBusy = false;
    }
  };
  const copies = new BackupCopies(engine);
  return {
    async backUp() {
      const backUp = engine.backUp?.bind(engine);
      if (!backUp) throw unsupported(engine, "back up");
      return (await copies.shared()) ?? (await alone(() => copies.made(backUp)));
    },
    async *verify() {
      const check = engine.check?.bind(engine);
      if (!check) throw unsupported(engine, "check");
      yield* verifyEvents((listener) => alone(() => check(listener)));
    },
    async *compact() {
      const compact = engine.compact?.bind(engine);
      if (!compact) throw unsupported(engine, "compact");
      yield* eventsOf<CompactionEvent>(async (emit, signal) => {
        const onRead = (bytesRead: number): void => {
          emit({ bytesRead });
        };
        emit({ result: await alone(() => compact({ onRead, signal })) });
      });
    },
  };
}

/** Yields the calls of a check as events. The check is aborted when the reader stops reading. */
export const verifyEvents = (
  check: (listener: CheckListener) => Promise<CheckResult>,
): AsyncGenerator<VerifyEvent, void> =>
  eventsOf<VerifyEvent>(async (emit, signal) => {
    const onFinding = (finding: Finding): void => {
      emit({ finding });
    };
    const onRead = (bytesRead: number): void => {
      emit({ bytesRead });
    };
    const { counts } = await check({ signal, onFinding, onRead });
    if (counts) emit({ counts });
  });

/** Yields what work emits. The work goes on while its reader is slow, and is aborted when the reader stops reading. */
async function* eventsOf<Event extends object>(
  work: (emit: (event: Event | BytesRead) => void, signal: AbortSignal) => Promise<void>,
): AsyncGenerator<Event | BytesRead, void> {
  const abort = new AbortController();
  const events: (Event | BytesRead)[] = [];
  const state = { isDone: false, wake: (): void => undefined };
  const emit = (event: Event | BytesRead): void => {
    const last = events.at(-1);
    // A slow reader gets the progress of several reads as one event. The number of findings is limited by the check.
    if (last && "bytesRead" in last && "bytesRead" in event) {
      events[events.length - 1] = { bytesRead: last.bytesRead + event.bytesRead };
    } else {
      events.push(event);
    }
    state.wake();
  };
  const ended = work(emit, abort.signal).finally(() => {
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
