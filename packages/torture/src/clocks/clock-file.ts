import { closeSync, openSync, writeSync } from "node:fs";
import { CLOCK_BYTES, CLOCK_VARIABLE } from "./moved-clock.js";

const PRELOAD = require.resolve("./moved-clock.js");

/** The clocks of the processes that are started with `environment`. A jump moves the wall clock alone. */
export class ClockFile {
  private readonly fd: number;
  private wallMs = 0;
  private monotonicMs = 0;

  constructor(private readonly path: string) {
    this.fd = openSync(path, "w");
    this.write();
  }

  /** The environment of a process with these clocks. `preload` is a script that is loaded as well. */
  environment(preload?: string): NodeJS.ProcessEnv {
    const others = preload === undefined ? "" : ` --require ${preload}`;
    return { NODE_OPTIONS: `--require ${PRELOAD}${others}`, [CLOCK_VARIABLE]: this.path };
  }

  /** The time that the wall clock shows. */
  get nowMs(): number {
    return Date.now() + this.wallMs;
  }

  /** The time that the wall clock would show without its jumps. */
  get trueMs(): number {
    return Date.now() + this.monotonicMs;
  }

  /** How far the wall clock is ahead. */
  get errorMs(): number {
    return this.wallMs - this.monotonicMs;
  }

  /** Moves the wall clock. */
  jump(ms: number): void {
    this.wallMs += ms;
    this.write();
  }

  /** Lets time pass: both clocks go on. */
  pass(ms: number): void {
    this.wallMs += ms;
    this.monotonicMs += ms;
    this.write();
  }

  correct(): void {
    this.wallMs = this.monotonicMs;
    this.write();
  }

  close(): void {
    closeSync(this.fd);
  }

  private write(): void {
    const bytes = Buffer.alloc(CLOCK_BYTES);
    bytes.writeDoubleLE(this.wallMs, 0);
    bytes.writeDoubleLE(this.monotonicMs, 8);
    // One call, so that no reader sees one new and one old number.
    writeSync(this.fd, bytes, 0, CLOCK_BYTES, 0);
  }
}
