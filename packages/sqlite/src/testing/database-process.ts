import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Another process that has a database open. The caller must end it. */
export class DatabaseProcess {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  constructor(file: string) {
    this.child = spawn(process.execPath, [join(__dirname, "writing-process.js"), file], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (!this.child.stdout) throw new Error("the process has no output");
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /** Runs statements that return no rows, and resolves when they are done. */
  async exec(sql: string): Promise<void> {
    this.child.stdin?.write(`${sql.replaceAll("\n", " ")}\n`);
    const { done } = await this.lines.next();
    if (done) throw new Error(`the process ended during: ${sql}`);
  }

  /** Ends the process in the middle of what it does, and waits for its end. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }
}
