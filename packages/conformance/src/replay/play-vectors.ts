import type { RuntimeStore } from "@bolthole/contract";
import { missing } from "../conformance-case.js";
import type { StoreFactory } from "../store-factory.js";
import { FAMILIES } from "./families/index.js";
import type { Family } from "./families/family.js";
import { TAKEN, type TraceOptions } from "./play-trace.js";
import { type Replayed, judged, skipped } from "./replay-report.js";
import type { Vector } from "./vector.js";

/** Cases that are played at the same time: each has a runtime of its own. */
const AT_ONCE = 16;

/** Plays the cases of a family on one store. */
export async function playVectors(
  family: string,
  vectors: readonly Vector[],
  factory: StoreFactory,
  options: TraceOptions = {},
): Promise<Replayed[]> {
  const player = FAMILIES[family];
  if (!player) throw new Error(`a family that the player does not know: ${family}`);
  const lacks = missing(player.needs, factory.capabilities);
  if (lacks.length > 0) {
    const reason = lacks.includes("transcriptRules") ? "transcript rules" : `needs ${lacks.join(", ")}`;
    return vectors.map(({ name }) => skipped(name, reason));
  }
  const site = await factory.createSite();
  try {
    const handle = await site.open();
    const replayed: Replayed[] = [];
    for (let at = 0; at < vectors.length; at += AT_ONCE) {
      const some = vectors.slice(at, at + AT_ONCE);
      replayed.push(...(await Promise.all(some.map((vector) => playVector(player, vector, handle.store, options)))));
    }
    await handle.close();
    return replayed;
  } finally {
    await site.remove();
  }
}

async function playVector(
  player: Family,
  vector: Vector,
  store: RuntimeStore,
  { isTaken }: TraceOptions,
): Promise<Replayed> {
  try {
    if (await isTaken?.(new Set([vector.name]), false)) return skipped(vector.name, TAKEN);
    const verdict = await player.play(vector, store, vector.name);
    return "skip" in verdict ? skipped(vector.name, verdict.skip) : judged(vector.name, verdict);
  } catch (error) {
    const got = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return judged(vector.name, [{ op: "play", expected: "a verdict", got }]);
  }
}
