import { Command } from "commander";
import { VERSION } from "../config.js";
import { preventCoreDumps, refuseFewOpenFiles, refuseSmallFiles } from "../process-limits.js";
import { backupCommand, restoreCommand } from "./backup.js";
import { compactCommand } from "./compact.js";
import { deleteCommand } from "./delete.js";
import { exportCommand, importCommand } from "./move.js";
import { horizonCommand } from "./horizon.js";
import { repairCommand } from "./repair.js";
import { serveCommand } from "./serve.js";
import { endAtSignals } from "./signals.js";
import { statusCommand } from "./status.js";
import { verifyCommand } from "./verify.js";

/** Returns the `bolthole` program with all its commands. It throws a CommanderError instead of ending the process. */
export function createProgram(): Command {
  const program = new Command("bolthole")
    .description("Stores the state of agent runtimes durably.")
    .version(VERSION)
    .option("--debug", "print the stack of the error that ends a command")
    .hook("preAction", (_program, command) => {
      // The daemon drains at a signal, see `serve.ts`.
      if (command.name() !== "serve") endAtSignals(nameOf(command));
      // A store, a backup and an export have secrets, such as OAuth flows: only the owner may read the files of a command.
      process.umask(0o077);
      refuseFewOpenFiles();
      refuseSmallFiles();
      preventCoreDumps();
    })
    .addCommand(serveCommand())
    .addCommand(statusCommand())
    .addCommand(importCommand())
    .addCommand(exportCommand())
    .addCommand(deleteCommand())
    .addCommand(backupCommand())
    .addCommand(restoreCommand())
    .addCommand(verifyCommand())
    .addCommand(horizonCommand())
    .addCommand(compactCommand())
    .addCommand(repairCommand());
  for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])]) {
    command.exitOverride().configureOutput({
      outputError: (text, write) => {
        write(text.replace(/^error: /, "bolthole: "));
      },
    });
  }
  return program;
}

/** Returns the name of a command as it is typed, such as `import meerkat`. */
const nameOf = (command: Command): string => {
  const group = command.parent?.parent ? `${command.parent.name()} ` : "";
  return group + command.name();
};
