import { createInterface } from "node:readline/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { type DeletedRuntime, OutcomeUnknownError, StoreError } from "@bolthole/contract";
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
    .addOption(
      new Option(
        "--request-id <uuid>",
        "a UUIDv7; a repeated deletion with the same id prints the first result",
      ).argParser(parseRequestId),
    )
    .action(deleteRuntime);
}

/** Checks the form of a request id before anything is asked or opened. The store checks its time. */
function parseRequestId(text: string): string {
  if (z.uuidv7().safeParse(text).success) return text;
  throw new InvalidArgumentError("Expected a UUIDv7, such as 0198f01a-0000-7000-8000-000000000001.");
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
    const deleted = await withExitCode(() => store.deleteRuntime({ runtimeId, requestId })).catch((error: unknown) => {
      throw withRequestId(runtimeId, error);
    });
    process.stdout.write(`${resultText(runtimeId, deleted)}\n`);
  } finally {
    await close();
  }
}

/** Returns an error that says how a deletion without a response is repeated so that it prints the first result. */
function withRequestId(runtimeId: string, error: unknown): unknown {
  const cause = error instanceof StartupError ? error.cause : error;
  if (!(cause instanceof OutcomeUnknownError)) return error;
  // The text of the error itself has an advice for programs.
  const lost = cause.subject.cause;
  const text =
    `the daemon gave no answer while deleting the runtime ${JSON.stringify(runtimeId)}, which may have been deleted or not ` +
    `(${lost instanceof StoreError ? lost.text : cause.text})\nwhen a daemon serves the store, repeat the command with --request-id ${cause.requestId}`;
  return new StartupError(EXIT.NOT_RUNNING, text, error);
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
