import { existsSync } from "node:fs";
import { Command } from "commander";
import { type ImportResult, type RuntimeContents, type RuntimeSummary, StoreError } from "@bolthole/contract";
import { MeerkatFile, type RefusedRow, toMeerkat } from "@bolthole/sqlite";
import { type MoveFlags, Move, addMoveOptions, usable } from "./move.js";
import { type Place, type PlaceFlags, addPlaceOptions, openPlace } from "./open-place.js";

/** `bolthole export meerkat FILE`: writes a store into a database of the reference, runtime by runtime. */
export function exportCommand(): Command {
  const meerkat = new Command("meerkat")
    .description("write everything into a database of Meerkat's runtime store; it is made when there is none")
    .argument("<file>", "the database")
    .action(exportMeerkat);
  return new Command("export")
    .description("write runtimes out of a store, running or not")
    .addCommand(addMoveOptions(addPlaceOptions(meerkat)));
}

async function exportMeerkat(path: string, flags: MoveFlags & PlaceFlags): Promise<void> {
  const place = await openPlace(flags, "refuse");
  try {
    // A dry run makes no file, so where there is none everything would be added.
    const file = flags.dryRun && !existsSync(path) ? undefined : await usable(MeerkatFile.openToWrite(path));
    try {
      process.exitCode = await exportAll(place, file, flags);
    } finally {
      await file?.close();
    }
  } finally {
    await place.close();
  }
}

async function exportAll({ store, transfer }: Place, file: MeerkatFile | undefined, flags: MoveFlags): Promise<number> {
  const overwrite = flags.overwrite === true;
  const dryRun = flags.dryRun === true;
  const runtimes = await listAll(store);
  const move = new Move(flags, runtimes.length);
  for (const { runtimeId } of runtimes) {
    const found = await exported(transfer, runtimeId);
    // Cleared since it was listed.
    if (!found) continue;
    if ("refused" in found) {
      move.refuse(runtimeId, [found.refused], true);
      continue;
    }
    const taking = toMeerkat(found);
    await move.runtime(runtimeId, taking, () =>
      file ? file.write(found, taking.taken, overwrite, dryRun) : Promise.resolve("added"),
    );
  }
  const oauth = await store.loadAuthOauthFlowSnapshot({});
  if (oauth) await move.store("OAuth flow state", () => exportOauth(file, Buffer.from(oauth.value), overwrite, dryRun));
  return move.end();
}

async function listAll(store: Place["store"]): Promise<RuntimeSummary[]> {
  const all: RuntimeSummary[] = [];
  let pageToken = "";
  do {
    const page = await store.listRuntimes({ pageSize: 0, pageToken });
    all.push(...page.runtimes);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}

/** What is stored, or the record over which it cannot be read: then nothing of the runtime can. */
async function exported(
  transfer: Place["transfer"],
  runtimeId: string,
): Promise<RuntimeContents | { readonly refused: RefusedRow } | undefined> {
  try {
    return await transfer.exportRuntime({ runtimeId });
  } catch (error) {
    if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
    return { refused: { record: error.subject.record ?? "a record", reason: error.message } };
  }
}

async function exportOauth(
  file: MeerkatFile | undefined,
  snapshot: Buffer,
  overwrite: boolean,
  dryRun: boolean,
): Promise<ImportResult> {
  const there = await file?.readOauth();
  if (there && snapshot.equals(there)) return "unchanged";
  if (there && !overwrite) return "kept";
  if (!dryRun) await file?.writeOauth(snapshot);
  return there ? "replaced" : "added";
}
