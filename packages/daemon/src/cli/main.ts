#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { EXIT, StartupError } from "../exit-code.js";
import { VERSION } from "../version.js";
import { backupCommand } from "./backup.js";
import { exportCommand } from "./export.js";
import { importCommand } from "./import.js";
import { restoreCommand } from "./restore.js";
import { serveCommand } from "./serve.js";
import { statusCommand } from "./status.js";
import { verifyCommand } from "./verify.js";

const program = new Command("bolthole")
  .description("Keeps the state of agent runtimes safe.")
  .version(VERSION)
  .addCommand(serveCommand())
  .addCommand(statusCommand())
  .addCommand(importCommand())
  .addCommand(exportCommand())
  .addCommand(backupCommand())
  .addCommand(restoreCommand())
  .addCommand(verifyCommand());
for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])]) command.exitOverride();

program.parseAsync().catch((error: unknown) => {
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
