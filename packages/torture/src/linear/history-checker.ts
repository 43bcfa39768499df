import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { UnsupportedMachineError } from "../run.js";
import type { RecordKey } from "../ledger.js";
import type { StoredRecord } from "../load/records.js";

/** The partition of the OAuth value, which belongs to no runtime. */
export const OAUTH = "oauth";

export interface ExpectedRecord {
  readonly record: RecordKey;
  /** Null means that the record must not exist. */
  readonly version: string | null;
}

/** The effects and expectations of a write, in the form that linear-checker/history.go reads. */
export interface WriteFacts {
  /** The digest of each record that it writes; null for a deletion. */
  readonly sets: Readonly<Record<RecordKey, string | null>>;
  /** Records that must not exist before the write. */
  readonly inserts?: readonly RecordKey[] | undefined;
  /** The fence token of the lifecycle record that is written. */
  readonly newFence?: string | undefined;
  readonly fence?: string | undefined;
  readonly versions?: readonly ExpectedRecord[] | undefined;
  /** The expectation of a compare-and-set; when it does not hold, the result is "missed" and not a refusal. */
  readonly ifCurrent?: ExpectedRecord | undefined;
}

/** One operation as its client saw it. Times are nanoseconds of one clock. */
export interface HistoryLine extends Partial<WriteFacts> {
  readonly partition: string;
  readonly kind: "init" | "write" | "read" | "list";
  readonly client: number;
  readonly call: number;
  /** Absent when there was no response: the operation may be applied at any later time, or never. */
  readonly return?: number;
  /** The result of a write: ok, missed, or the reason of the refusal; absent when there was no response. */
  readonly result?: string;
  readonly version?: string | undefined;
  readonly record?: RecordKey;
  readonly seen?: StoredRecord | undefined;
  readonly rows?: Readonly<Record<RecordKey, StoredRecord>>;
}

/** Returns nanoseconds since the start of this process; all clients run in it. */
export const now = (): number => Math.round(performance.now() * 1e6);

const SOURCE = join(__dirname, "..", "..", "linear-checker");
const BUILD_MS = 300_000;

/** The result of a check. */
interface Verdict {
  readonly partitions: number;
  readonly operations: number;
  /** The number of operations without a response. */
  readonly open: number;
  readonly illegal: readonly string[];
  /** Partitions whose check exceeded the time limit. */
  readonly undecided: readonly string[];
}

/** Runs the Go program in `linear-checker`, which uses porcupine. */
export class LinearChecker {
  private constructor(private readonly program: string) {}

  /** Builds the program into a folder. Throws UnsupportedMachineError when that fails. */
  static async build(folder: string): Promise<LinearChecker> {
    const program = join(folder, "linear-checker");
    await new Promise<void>((resolve, reject) => {
      execFile("go", ["build", "-o", program, "."], { cwd: SOURCE, timeout: BUILD_MS }, (error, _stdout, stderr) => {
        if (!error) resolve();
        else if (error.code === "ENOENT")
          reject(new UnsupportedMachineError("this kind needs Go (https://go.dev), and the command go was not found"));
        else reject(new UnsupportedMachineError(`this kind needs its checker, and go could not build it:\n${stderr}`));
      });
    });
    return new LinearChecker(program);
  }

  /** Checks a history. Drawings of parts that are not linearizable go to `folder`; `seconds` limits each partition. */
  check(lines: readonly HistoryLine[], seconds: number, folder: string): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.program, ["-timeout", `${String(seconds)}s`, "-folder", folder], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      let output = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
      child.once("error", reject);
      child.once("close", (code) => {
        if (code === 0) resolve(JSON.parse(output) as Verdict);
        else reject(new Error(`the linear checker ended with ${String(code)}`));
      });
      for (const line of lines) child.stdin.write(`${JSON.stringify(line)}\n`);
      child.stdin.end();
    });
  }
}
