// The first import: it keeps SIGUSR1 from opening an inspector, also in the process of the check.
import "@bolthole/core/no-inspector";
import { fork } from "node:child_process";
import { join } from "node:path";
import type { Finding, StoreCounts } from "@bolthole/contract";
import type { CheckListener, CheckResult } from "@bolthole/core";
import { decodeCounter } from "../counter.js";
import { diskErrno, preflightForReading } from "../disk-errors.js";
import { Environment } from "../environment.js";
import { SEQUENCE_KEY } from "../keys.js";
import { checkStore } from "./check-store.js";
import { DamagedPagesError, walkPages } from "./page-walk.js";

/*
 * A store is checked in another process, because LMDB may crash or hang over damaged pages. This file is both sides: the
 * parent calls `checkInProcess`, which forks this file; the child runs `runChild` and sends messages.
 */

/** The request to the child process, sent as JSON in its first argument. */
export interface CheckRequest {
  readonly folder: string;
  /** Whether the pages of the data file are checked. Only allowed while no other process can write them. */
  readonly pages: boolean;
  /** Whether everything that is stored is read. */
  readonly rows: boolean;
}

/** A message of the child process. Findings and progress arrive during the check, the counts at its end. */
export type CheckMessage =
  | { readonly finding: Finding }
  | { readonly bytes: number }
  | { readonly counts: StoreCounts; readonly commitSequence: number }
  /** The disk refused a read. `errno` is the operating system's number. */
  | { readonly refused: string; readonly errno: number };

/** A child process that has sent no message for this long hangs and is killed. */
const SILENCE_MS = 120_000;
/** The most characters of the child's error output that a finding quotes. */
const QUOTE_LENGTH = 500;

/**
 * Checks a store in another process. If that process crashes or hangs, this is a finding, and the caller is not affected.
 * The files of the folder must exist. Rejects with an AbortError when the listener's signal aborts, and with the operating system's
 * error when the disk refused something: then nothing is known about damage. In all cases the process has ended, so that nothing
 * uses the folder any more.
 */
export async function checkInProcess(request: CheckRequest, listener: CheckListener): Promise<CheckResult> {
  // The pages of an open store are not checked.
  if (request.pages) preflightForReading(request.folder);
  const child = fork(join(__dirname, "check-process.js"), [JSON.stringify(request)], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    signal: listener.signal,
    killSignal: "SIGKILL",
  });
  let result: CheckResult = {};
  let refusal: Error | undefined;
  let errorOutput = "";
  const hang = new AbortController();
  const silence = setTimeout(() => {
    hang.abort();
    child.kill("SIGKILL");
  }, SILENCE_MS);
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errorOutput = (errorOutput + text).slice(-QUOTE_LENGTH);
  });
  child.on("message", (received) => {
    silence.refresh();
    const message = received as CheckMessage;
    if ("finding" in message) listener.onFinding(message.finding);
    else if ("bytes" in message) listener.onRead?.(message.bytes);
    else if ("refused" in message) {
      refusal = Object.assign(new Error(message.refused), { errno: -message.errno });
    } else result = message;
  });
  try {
    const ending = await new Promise<string>((resolve, reject) => {
      let failure: Error | undefined;
      child.once("error", (error) => {
        failure = error;
        // A process that was aborted still has to end. One that could not be started has no end.
        if (child.pid === undefined) reject(error);
      });
      child.once("close", (code, signal) => {
        if (failure) reject(failure);
        else resolve(signal ?? (code === 0 ? "" : `exit code ${String(code)}`));
      });
    });
    if (refusal) throw refusal;
    if (ending !== "") {
      const quote = errorOutput === "" ? "" : `: ${errorOutput.trim()}`;
      const cause = hang.signal.aborted
        ? `it sent nothing for ${SILENCE_MS / 1000} seconds`
        : `it ended with ${ending}${quote}`;
      listener.onFinding({ code: "check-crashed", text: `the process that read the store did not finish: ${cause}` });
    }
    return result;
  } finally {
    clearTimeout(silence);
  }
}

/** Progress is sent after this many bytes, together with the findings up to then. */
const REPORT_BYTES = 4 << 20;

/**
 * The most findings of single records that are sent. Their listeners keep them in memory. Findings that make a runtime or the
 * store unusable are always sent.
 */
const MAX_RECORD_FINDINGS = 100_000;

const isOfOneRecord = ({ code }: Finding): boolean => code.startsWith("row-") || code.startsWith("document-");

/** Sends the messages of the child process in order. */
export class Report {
  private readonly messages: CheckMessage[] = [];
  private bytes = 0;
  private recordFindings = 0;
  private lastLeftOut: Finding | undefined;

  constructor(private readonly maxRecordFindings = MAX_RECORD_FINDINGS) {}

  add(message: CheckMessage): void {
    this.messages.push(message);
  }

  addFinding(finding: Finding): void {
    if (isOfOneRecord(finding)) {
      this.recordFindings += 1;
      if (this.recordFindings > this.maxRecordFindings) {
        this.lastLeftOut = finding;
        return;
      }
    }
    this.messages.push({ finding });
  }

  /** Adds one finding in place of those that were left out. */
  addLeftOut(): void {
    if (!this.lastLeftOut) return;
    const count = this.recordFindings - this.maxRecordFindings;
    this.messages.push({
      finding: { code: this.lastLeftOut.code, text: `${String(count)} further findings are not listed` },
    });
  }

  /** The messages that were not sent yet. */
  get pending(): readonly CheckMessage[] {
    return this.messages;
  }

  addBytes(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes >= REPORT_BYTES) void this.send();
  }

  /** Resolves when the parent has received all messages. */
  async send(): Promise<void> {
    this.messages.push({ bytes: this.bytes });
    this.bytes = 0;
    for (const message of this.messages.splice(0)) {
      await new Promise<void>((resolve, reject) => {
        process.send?.(message, (error: Error | null) => {
          if (error) reject(error);
          else resolve();
        });
      });
    }
  }
}

async function check({ folder, pages, rows }: CheckRequest): Promise<void> {
  const report = new Report();
  if (pages) {
    try {
      walkPages(join(folder, "data.mdb"));
    } catch (error) {
      if (!(error instanceof DamagedPagesError)) throw error;
      report.add({ finding: { code: "pages-damaged", text: error.message } });
      await report.send();
      return;
    }
  }
  if (rows) {
    const environment = new Environment(folder, { readOnly: true });
    const transaction = environment.read();
    const counts = await checkStore(transaction, {
      onFinding: (finding) => {
        report.addFinding(finding);
      },
      onRead: (bytes) => {
        report.addBytes(bytes);
      },
    });
    report.addLeftOut();
    const last = transaction.get(SEQUENCE_KEY);
    report.add({ counts, commitSequence: (last && decodeCounter(SEQUENCE_KEY, last)) ?? 0 });
    transaction.done();
    await environment.close();
  }
  await report.send();
}

function runChild(): void {
  // The parent has ended and does not need the result any more.
  process.on("disconnect", () => process.exit());
  void check(JSON.parse(process.argv[2] ?? "") as CheckRequest).then(
    () => {
      process.disconnect();
    },
    (error: unknown) => {
      process.stderr.write(String(error));
      const errno = diskErrno(error);
      const refused: CheckMessage | undefined =
        errno === undefined ? undefined : { refused: (error as Error).message, errno };
      if (refused) process.send?.(refused, () => process.exit(1));
      else process.exit(1);
    },
  );
}

if (require.main === module) runChild();
