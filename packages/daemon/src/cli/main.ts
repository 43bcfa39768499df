#!/usr/bin/env node
import { CommanderError } from "commander";
import { EXIT, failureOf } from "../exit-code.js";
import { createProgram } from "./program.js";

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
  process.exitCode = exitCode;
});
