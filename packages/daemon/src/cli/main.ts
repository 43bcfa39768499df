#!/usr/bin/env node
import { CommanderError } from "commander";
import { EXIT, StartupError } from "../exit-code.js";
import { createProgram } from "./program.js";

createProgram()
  .parseAsync()
  .catch((error: unknown) => {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.CLEAN : EXIT.USAGE;
    } else if (error instanceof StartupError) {
      process.stderr.write(`bolthole: ${error.message.replaceAll("\n", "\nbolthole: ")}\n`);
      process.exitCode = error.exitCode;
    } else {
      process.stderr.write(`bolthole: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      process.exitCode = EXIT.INTERNAL;
    }
  });
