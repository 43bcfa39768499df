import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { CannotRun } from "../kinds/kind.js";
import type { HistoryLine } from "./history.js";

const SOURCE = join(__dirname, "..", "..", "linear-checker");
const BUILD_MS = 300_000;

/** What the checker says of the histories of some partitions. */
export interface Verdict {
  readonly partitions: number;
  readonly operations: number;
  /** Of the operations: those without an answer. */
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
          reject(new CannotRun("linear needs Go (https://go.dev), and there is none here"));
        else reject(new CannotRun(`linear needs its checker, and go cannot build it:\n${stderr}`));
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
