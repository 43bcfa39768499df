import { fork } from "node:child_process";
import { join } from "node:path";
import type { Finding, StoreCounts } from "@bolthole/contract";
import type { CheckListener, CheckResult } from "@bolthole/core";

/** What a process is to look at. */
export interface CheckOrder {
  readonly folder: string;
  /** The pages are checked only where no other process may be writing them. */
  readonly pages: boolean;
  /** Whether everything that is stored is read, too. */
  readonly rows: boolean;
}

/** What it tells: findings and progress as they come, the counts at the end of rows. */
export type CheckMessage =
  | { readonly finding: Finding }
  | { readonly bytes: number }
  | { readonly counts: StoreCounts; readonly commitSequence: number }
  /** The disk refused something, by the operating system's number. */
  | { readonly refused: string; readonly errno: number };

export interface ProcessResult extends CheckResult {
  /** The disk refused to give what was to be read: no word about the store itself. It is a finding, too. */
  readonly refusal?: Error | undefined;
}

/** A process that has said nothing for so long hangs. */
const SILENCE_MS = 120_000;
const TEXT_LENGTH = 500;

/**
 * Checks a store in a process of its own: what would crash or hang the native library is a finding, and nobody else crashes.
 * The folder's files must be there.
 */
export async function checkInProcess(order: CheckOrder, listener: CheckListener): Promise<ProcessResult> {
  const child = fork(join(__dirname, "check-main.js"), [JSON.stringify(order)], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    signal: listener.signal,
    killSignal: "SIGKILL",
  });
  let result: ProcessResult = {};
  let said = "";
  const silent = new AbortController();
  const silence = setTimeout(() => {
    silent.abort();
    child.kill("SIGKILL");
  }, SILENCE_MS);
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-TEXT_LENGTH)));
  child.on("message", (message) => {
    silence.refresh();
    const told = message as CheckMessage;
    if ("finding" in told) listener.onFinding(told.finding);
    else if ("bytes" in told) listener.onRead?.(told.bytes);
    else if ("refused" in told) result = { refusal: Object.assign(new Error(told.refused), { errno: -told.errno }) };
    else result = told;
  });
  try {
    const ending = await new Promise<string>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        resolve(signal ?? (code === 0 ? "" : `exit code ${String(code)}`));
      });
    });
    if (ending !== "") {
      const how = silent.signal.aborted ? "it hung" : `it ended with ${ending}${said === "" ? "" : `: ${said.trim()}`}`;
      listener.onFinding({
        code: "check-crashed",
        text: `the process that read the store did not come to its end: ${how}`,
      });
    }
    return result;
  } finally {
    clearTimeout(silence);
  }
}
