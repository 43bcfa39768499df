import type { FileGuard } from "@bolthole/core";
import type { Listener } from "./grpc-server.js";
import type { Log } from "./log.js";

/** The time between two looks at the files. The commits of the store look by themselves, so this is for times without one. */
const INTERVAL_MS = 1000;

/** The parts of a daemon whose files are watched. */
export interface WatchedFiles {
  /** Throws when the files of the store are not at their paths any more. */
  readonly guard: FileGuard;
  readonly onLost: (cause: unknown) => void;
  /** The listener on the unix socket. */
  readonly listener: Pick<Listener, "renewSocket" | "target">;
  readonly log: Log;
}

/**
 * Looks at the files of a running daemon at intervals. Calls `onLost` once when a file of the store is gone, and makes the unix socket
 * again when it was removed. Returns a function that ends this and waits for the last look.
 *
 * A watch of the operating system is not used: it reports nothing on some network file systems, and a stat of a few files costs a few
 * microseconds.
 */
export function watchFiles({ guard, onLost, listener, log }: WatchedFiles): () => Promise<void> {
  let problem = "";
  let running = Promise.resolve();
  const report = (text: string, facts: object): void => {
    // The same problem is found again every second.
    if (problem !== text) log.error({ socket: listener.target, ...facts }, text);
    problem = text;
  };
  const renew = async (): Promise<void> => {
    try {
      const state = await listener.renewSocket();
      if (state === "foreign") {
        report("another file is at the path of the unix socket, so new clients cannot connect; remove that file", {});
        return;
      }
      if (state === "renewed") {
        log.warn({ socket: listener.target }, "the unix socket was removed, and was made again; do not remove it");
      }
      problem = "";
    } catch (error) {
      report("the unix socket was removed and cannot be made again, so new clients cannot connect", { err: error });
    }
  };
  const timer = setInterval(() => {
    try {
      guard();
    } catch (cause) {
      clearInterval(timer);
      onLost(cause);
      return;
    }
    running = running.then(renew);
  }, INTERVAL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
