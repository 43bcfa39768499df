#!/usr/bin/env node
// The first import: it keeps SIGUSR1 from opening an inspector from here on.
import "@bolthole/core/no-inspector";
import { CommanderError } from "commander";
import { EXIT, failureOf } from "../exit-code.js";
import { surviveLostOutput } from "./output.js";
import { createProgram } from "./program.js";

surviveLostOutput();
const program = createProgram();
program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT.CLEAN : EXIT.USAGE;
    return;
  }
  const { exitCode, message } = failureOf(error);
  process.stderr.write(`bolthole: ${message.replaceAll("\n", "\nbolthole: ")}\n`);
  const isDebug = program.opts<{ readonly debug?: true }>().debug === true;
  if (isDebug && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  // `process.exit` would wait for the call to the disk that does not return.
  if (exitCode === EXIT.NOT_CLOSED) process.kill(process.pid, "SIGKILL");
  // What a failed command left open must not keep the process running, with the locks that it holds.
  process.exit(exitCode);
});
