import { createInterface } from "node:readline/promises";
import { Command } from "commander";
import type { DeletedRuntime } from "@bolthole/contract";
import { EXIT, StartupError, withExitCode } from "../exit-code.js";
import { type StoreTargetFlags, addStoreTargetOptions, openStoreTarget } from "./store-target.js";

interface DeleteFlags {
  readonly yes?: true;
  readonly requestId?: string;
}

/** Returns the command `bolthole delete RUNTIME`. */
export function deleteCommand(): Command {
  const command = new Command("delete")
    .description("delete everything that is stored for a runtime, damaged or not; a daemon may be serving the store")
    .argument("<runtime>", "the id of the runtime");
  return addStoreTargetOptions(command)
    .option("--yes", "delete without asking")
    .option("--request-id <uuid>", "a UUIDv7; a repeated deletion with the same id prints the first result")
    .action(deleteRuntime);
}

async function deleteRuntime(
  runtimeId: string,
  { yes, requestId, ...target }: DeleteFlags & StoreTargetFlags,
): Promise<void> {
  if (!yes && !(await isConfirmed(runtimeId))) {
    process.stdout.write("nothing was deleted\n");
    return;
  }
  const { store, close } = await openStoreTarget(target, "refuse");
  try {
    const deleted = await withExitCode(() => store.deleteRuntime({ runtimeId, requestId }));
    process.stdout.write(`${resultText(runtimeId, deleted)}\n`);
  } finally {
    await close();
  }
}

/** Asks on the terminal. Throws a StartupError when there is none. */
async function isConfirmed(runtimeId: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new StartupError(EXIT.USAGE, "there is no terminal to ask on; confirm the deletion with --yes");
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const reply = await terminal.question(`Delete everything that is stored for ${JSON.stringify(runtimeId)}? [y/N] `);
    return /^y(es)?$/i.test(reply.trim());
  } finally {
    terminal.close();
  }
}

function resultText(runtimeId: string, deleted: DeletedRuntime): string {
  const parts = [
    deleted.hadSessionSnapshot && "the session snapshot",
    deleted.hadMachineLifecycle && "the machine lifecycle record",
    deleted.hadOpsLifecycle && "the operation snapshot",
    deleted.inputStates > 0 && `${String(deleted.inputStates)} input states`,
    deleted.receipts > 0 && `${String(deleted.receipts)} receipts`,
  ].filter((part) => part !== false);
  const found = parts.length === 0 ? "nothing was stored" : `deleted ${parts.join(", ")}`;
  return `${JSON.stringify(runtimeId)}: ${found}${deleted.replayed ? " (by an earlier request with this id)" : ""}`;
}
