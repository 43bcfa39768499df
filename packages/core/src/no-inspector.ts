import { close, url } from "node:inspector";

/*
 * Keeps SIGUSR1 from opening the inspector of Node. It listens on a loopback port, where every local user could run code in this process
 * and read the store and the token. An inspector that `--inspect` asks for stays.
 *
 * A process of ours imports this file before all others, so that the listener is there as early as possible: it works on import. Between
 * the start of Node and this line, some tens of milliseconds, the signal still opens an inspector, which is closed here. Only Node's own
 * option `--disable-sigusr1` (22.14, 24 and later) leaves no such time.
 */

/** Closes an inspector that a signal has opened. It opens some time after the signal, so call it again when the process has started. */
export function closeInspector(): void {
  if (url() !== undefined && !isWanted()) close();
}

function isWanted(): boolean {
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? "").split(/\s+/)];
  return options.some((option) => /^--inspect(-brk|-wait)?(=|$)/.test(option));
}

process.on("SIGUSR1", () => undefined);
closeInspector();
setImmediate(closeInspector);
