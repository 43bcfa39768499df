import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CheckListener, CheckResult } from "@bolthole/core";
import { claimFormat, UnusableFolderError } from "../format";
import { checkInProcess } from "./check-process";

/** Checks everything in a data folder that nobody has open. Throws an UnusableFolder. */
export async function checkFolder(folder: string, listener: CheckListener): Promise<CheckResult> {
  if (!existsSync(join(folder, "format"))) throw new UnusableFolderError(`${folder} is not a Bolthole data folder`);
  claimFormat(folder);
  if (!existsSync(join(folder, "data.mdb")))
    throw new UnusableFolderError(`${folder} holds no store: its data.mdb is missing`);
  return checkInProcess({ folder, pages: true, rows: true }, listener);
}
