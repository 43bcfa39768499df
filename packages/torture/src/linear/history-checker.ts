import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { UnsupportedMachineError } from "../run.js";
import type { RecordKey } from "../ledger.js";
import type { StoredRecord } from "../load/records.js";

/** The partition of the one record that belongs to no runtime. */
export const OAUTH = "oauth";

export interface ExpectedRecord {
  readonly record: RecordKey;
  /** Null: it must not be there. */
  readonly version: string | null;
}

/** What a write does and asks for, as the checker's models know it (linear-checker/history.go). */
export interface WriteFacts {
  /** Digests by record; null deletes. */
  readonly sets: Readonly<Record<RecordKey, string | null>>;
  /** Records that must not be there yet. */
  readonly inserts?: readonly RecordKey[] | undefined;
  /** The fence token of the lifecycle record that is written. */
  readonly newFence?: string | undefined;
  readonly fence?: string | undefined;
  readonly versions?: readonly ExpectedRecord[] | undefined;
  /** Missed, it is a response and no refusal. */
  readonly ifCurrent?: ExpectedRecord | undefined;
}

/** One operation as its client saw it. Instants are nanoseconds of one clock. */
export interface HistoryLine extends Partial<WriteFacts> {
  readonly partition: string;
  readonly kind: "init" | "write" | "read" | "list";
  readonly client: number;
  readonly call: number;
  /** Absent: no response came, it may take effect at any later time, or never. */
  readonly return?: number;
  /** Of a write: ok, missed, or the reason of the refusal; absent when no response came. */
  readonly result?: string;
  readonly version?: string | undefined;
  readonly record?: RecordKey;
  readonly seen?: StoredRecord | undefined;
  readonly rows?: Readonly<Record<RecordKey, StoredRecord>>;
}

/** Of one clock for all clients of this process, in nanoseconds since it began. */
export const now = (): number => Math.round(performance.now() * 1e6);

const SOURCE = join(__dirname, "..", "..", "linear-checker");
const BUILD_MS = 300_000;

/** What the checker says of the histories of some partitions. */
interface Verdict {
  readonly partitions: number;
  readonly operations: number;
  /** Of the operations: those without a response. */
  readonly open: number;
  readonly illegal: readonly string[];
  /** Partitions whose check took too long. */
  readonly undecided: readonly string[];
}

/** The Go program beside this package, which asks porcupine. */
export class LinearChecker {
  private constructor(private readonly program: string) {}

  /** Builds it into a folder. */
  static async build(folder: string): Promise<LinearChecker> {
    const program = join(folder, "linear-checker");
    await new Promise<void>((resolve, reject) => {
      execFile("go", ["build", "-o", program, "."], { cwd: SOURCE, timeout: BUILD_MS }, (error, _stdout, stderr) => {
        if (!error) resolve();
        else if (error.code === "ENOENT")
          reject(new UnsupportedMachineError("linear needs Go (https://go.dev), and there is none here"));
        else reject(new UnsupportedMachineError(`linear needs its checker, and go cannot build it:\n${stderr}`));
      });
    });
    return new LinearChecker(program);
  }

  /** `folder` takes drawings of what is not linearizable. */
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
