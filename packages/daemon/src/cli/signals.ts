/** Signals that ask a process to end. A daemon drains, and a command ends after it has removed its unfinished files. */
export const ENDING_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGPWR"] as const;

/**
 * Signals that would end a process without a drain, which their senders do not intend. SIGUSR1 would open Node's inspector, see
 * `no-inspector.ts`. SIGPROF is not among them: the profiler of V8 uses it.
 */
export const IGNORED_SIGNALS = ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGIO", "SIGSTKFLT"] as const;

/** The system writes a core file for these signals. */
const WITH_CORE: readonly NodeJS.Signals[] = ["SIGQUIT", "SIGXCPU"];

/** Calls `onSignal` for a signal that the daemon ignores, so that it can be logged. */
export function ignoreSignals(onSignal: (signal: NodeJS.Signals) => void): void {
  for (const signal of IGNORED_SIGNALS) process.on(signal, onSignal);
}

/** Functions that remove unfinished files of the command. */
const cleanUps = new Set<() => void>();

/** Calls `cleanUp` when a signal ends the command. It must not wait. Returns a function that forgets it. */
export function onInterruption(cleanUp: () => void): () => void {
  cleanUps.add(cleanUp);
  return () => {
    cleanUps.delete(cleanUp);
  };
}

/**
 * Makes each signal that ends a command remove its unfinished files, say so, and then end the process as it would have done without this
 * function: a shell reports 128 plus the number of the signal. The commands of a store are safe at every moment, so nothing else has to
 * be closed.
 */
export function endAtSignals(command: string): void {
  ignoreSignals(() => undefined);
  for (const signal of ENDING_SIGNALS) {
    process.on(signal, () => {
      let left = "no unfinished file is left";
      for (const cleanUp of cleanUps) {
        try {
          cleanUp();
        } catch {
          left = "an unfinished file is left, which the next run of the command removes";
        }
      }
      process.stderr.write(
        `bolthole: ${command} was ended by ${signal} before it was complete; ${left}; repeat the command\n`,
      );
      // Not `process.exit`, which would wait for a read of a pipe, or for a call to a disk that does not return.
      const last = WITH_CORE.includes(signal) ? "SIGTERM" : signal;
      process.removeAllListeners(last);
      process.kill(process.pid, last);
    });
  }
}
