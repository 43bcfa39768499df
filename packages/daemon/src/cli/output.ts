import { writeSync } from "node:fs";
import { EXIT } from "../exit-code.js";

const STDERR = 2;

/**
 * Keeps an output that cannot be written from ending a command in the middle of its work, such as an import or a repair. The command
 * completes. Then a lost output is named on the standard error, and success becomes INTERNAL.
 *
 * A reader that has gone (`bolthole verify | head`) has what it wanted, and is no failure.
 */
export function surviveLostOutput(): void {
  let lost: NodeJS.ErrnoException | undefined;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") lost ??= error;
  });
  // There is no place to report it.
  process.stderr.on("error", () => undefined);
  process.on("exit", (code) => {
    if (!lost) return;
    if (code === EXIT.CLEAN) process.exitCode = EXIT.INTERNAL;
    reportLost(lost);
  });
}

/** Writes at once, because the process is ending. */
function reportLost({ message }: Error): void {
  const text =
    `bolthole: the output of the command could not be written: ${message}; what it did is done, and only its report is incomplete; ` +
    "free some space, or choose another place for the output\n";
  try {
    writeSync(STDERR, text);
  } catch {
    // The standard error cannot be written either. The exit code says it.
  }
}
