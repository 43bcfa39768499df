import { Command } from "commander";
import { VERSION } from "../config.js";
import { backupCommand, restoreCommand } from "./backup.js";
import { deleteCommand } from "./delete.js";
import { exportCommand, importCommand } from "./move.js";
import { horizonCommand } from "./horizon.js";
import { repairCommand } from "./repair.js";
import { serveCommand } from "./serve.js";
import { statusCommand } from "./status.js";
import { verifyCommand } from "./verify.js";

/** Returns the `bolthole` program with all its commands. It throws a CommanderError instead of ending the process. */
export function createProgram(): Command {
  const program = new Command("bolthole")
    .description("Stores the state of agent runtimes durably.")
    .version(VERSION)
    .option("--debug", "print the stack of the error that ends a command")
    .addCommand(serveCommand())
    .addCommand(statusCommand())
    .addCommand(importCommand())
    .addCommand(exportCommand())
    .addCommand(deleteCommand())
    .addCommand(backupCommand())
    .addCommand(restoreCommand())
    .addCommand(verifyCommand())
    .addCommand(horizonCommand())
    .addCommand(repairCommand());
  for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])]) command.exitOverride();
  return program;
}
