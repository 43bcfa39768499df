import { Command } from "commander";
import type { ImportResult } from "@bolthole/contract";
import { MeerkatFile, fromMeerkat } from "@bolthole/sqlite";
import { type MoveFlags, Move, addMoveOptions, usable } from "./move.js";
import { type Place, type PlaceFlags, addPlaceOptions, openPlace } from "./open-place.js";

/** `bolthole import meerkat FILE`: takes a database of the reference into a store, runtime by runtime. */
export function importCommand(): Command {
  const meerkat = new Command("meerkat")
    .description("take everything in a database of Meerkat's runtime store; the file is only read")
    .argument("<file>", "the database")
    .action(importMeerkat);
  return new Command("import")
    .description("take runtimes into a store, running or not")
    .addCommand(addMoveOptions(addPlaceOptions(meerkat)));
}

async function importMeerkat(path: string, flags: MoveFlags & PlaceFlags): Promise<void> {
  const file = await usable(MeerkatFile.openToRead(path));
  try {
    const place = await openPlace(flags, flags.dryRun ? "nothing" : "make");
    try {
      process.exitCode = await importAll(file, place, flags);
    } finally {
      await place.close();
    }
  } finally {
    await file.close();
  }
}

async function importAll(file: MeerkatFile, { store, transfer }: Place, flags: MoveFlags): Promise<number> {
  const overwrite = flags.overwrite === true;
  const dryRun = flags.dryRun === true;
  const runtimes = await file.runtimes();
  const move = new Move(flags, runtimes.length);
  for (const { runtimeId, name } of runtimes) {
    if (runtimeId === undefined) {
      move.refuse(name, [{ record: "runtime id", reason: "it is no text" }], true);
      continue;
    }
    const taking = fromMeerkat(runtimeId, await file.read(runtimeId));
    await move.runtime(name, taking, () => transfer.importRuntime({ contents: taking.taken, overwrite, dryRun }));
  }
  const oauth = await file.readOauth();
  if (oauth) await move.store("OAuth flow state", () => importOauth(store, oauth, overwrite, dryRun));
  return move.end();
}

async function importOauth(
  store: Place["store"],
  snapshot: Buffer,
  overwrite: boolean,
  dryRun: boolean,
): Promise<ImportResult> {
  const stored = await store.loadAuthOauthFlowSnapshot({});
  if (stored && snapshot.equals(stored.value)) return "unchanged";
  if (stored && !overwrite) return "kept";
  if (!dryRun) {
    const { updated } = await store.updateAuthOauthFlowSnapshot({ snapshot, expected: stored?.version });
    if (!updated) return "kept";
  }
  return stored ? "replaced" : "added";
}
