import type { Finding } from "@bolthole/contract";
import { damageOf } from "../audit/row-audit.js";
import { difference } from "../audit/runtime-audit.js";
import { storeDiffers } from "../audit/store-audit.js";
import { updateDigest } from "../commit/runtime-manifest.js";
import { EMPTY_STORE_MANIFEST, decodeStoreManifest } from "../commit/store-manifest.js";
import { type Engine, type View, pagesOf } from "../engine.js";
import type { Pace } from "./pace.js";

/** Outcomes have about a hundred bytes. */
const SLICE_ROWS = 64;

/**
 * Checks the rows that are of no runtime. How many outcomes and runtimes the tally counts is not compared: it changes with
 * every commit, so that takes one view of the whole store.
 */
export async function scrubStoreRows(engine: Engine, pace: Pace): Promise<Finding[]> {
  const findings = await scrubBooks(engine, pace);
  await pace.rest();
  const viewOfEachPage: Pick<View, "scan"> = {
    scan: (range, limit) => engine.view((view) => view.scan(range, limit)),
  };
  for await (const page of pagesOf(viewOfEachPage, { table: "outcome" }, SLICE_ROWS)) {
    for (const { key, row } of page) {
      const damage = damageOf(key, row);
      if (damage) findings.push(damage);
      await pace.spend(row.value.length);
    }
    await pace.rest();
  }
  return findings;
}

async function scrubBooks(engine: Engine, pace: Pace): Promise<Finding[]> {
  const tallyKey = { table: "storeManifest" } as const;
  const oauthKey = { table: "oauth" } as const;
  const { tally, oauth } = await engine.view(async (view) => ({
    tally: await view.get(tallyKey),
    oauth: await view.get(oauthKey),
  }));
  await pace.spend((tally?.value.length ?? 0) + (oauth?.value.length ?? 0));
  const damage = [tally && damageOf(tallyKey, tally), oauth && damageOf(oauthKey, oauth)];
  const findings = damage.filter((finding) => finding !== undefined);
  if (damage[0]) return [...findings, storeDiffers("its own row is damaged")];
  const books = tally ? decodeStoreManifest(tally.value) : EMPTY_STORE_MANIFEST;
  const text = difference("oauth", books.oauth, updateDigest(EMPTY_STORE_MANIFEST.oauth, undefined, oauth));
  return text === undefined ? findings : [...findings, storeDiffers(text)];
}
