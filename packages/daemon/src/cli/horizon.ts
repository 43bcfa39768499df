import { Command, Option } from "commander";
import { type RequestIdTimes, StoreError } from "@bolthole/contract";
import { duration } from "../clock-log.js";
import { EXIT, StartupError, withExitCode } from "../exit-code.js";
import { instantText, parseInstant } from "./instant.js";
import { type StoreTarget, type StoreTargetFlags, addStoreTargetOptions, openStoreTarget } from "./store-target.js";

interface HorizonFlags {
  readonly set?: number;
  readonly json?: true;
}

/** Returns the command `bolthole horizon`. */
export function horizonCommand(): Command {
  const command = new Command("horizon").description(
    "show or set the horizon, below which request ids are refused; a daemon may be serving the store",
  );
  const set = new Option(
    "--set <instant>",
    "the new horizon, or now; below the old one, requests that were applied or refused may be applied again",
  );
  return addStoreTargetOptions(command)
    .addOption(set.argParser(parseInstant))
    .option("--json", "print one JSON object")
    .action(showHorizon);
}

async function showHorizon({ set, json, ...flags }: HorizonFlags & StoreTargetFlags): Promise<void> {
  const target = await openStoreTarget(flags, "refuse");
  try {
    const times = await withExitCode(async () =>
      set === undefined ? (await target.store.getServerInfo({})).requestIdTimes : await setHorizon(target, set),
    );
    process.stdout.write(json ? `${JSON.stringify(jsonOf(times))}\n` : describe(times));
  } finally {
    await target.close();
  }
}

/** Sets the horizon. Throws a StartupError for a time that the store refuses. */
async function setHorizon({ transfer }: StoreTarget, horizonMs: number): Promise<RequestIdTimes> {
  try {
    return await transfer.setHorizon({ horizonMs });
  } catch (error) {
    if (!(error instanceof StoreError) || error.reason !== "INVALID_ARGUMENT") throw error;
    const text = `--set: expected ${error.subject.expected ?? "an earlier time"}, found ${instantText(horizonMs)}; nothing was changed`;
    throw new StartupError(EXIT.USAGE, text, error);
  }
}

const jsonOf = (times: RequestIdTimes | undefined): object => ({
  horizon: times && instantText(times.horizonMs),
  storeTime: times && instantText(times.storeTimeMs),
  latest: times && instantText(times.latestMs),
});

function describe(times: RequestIdTimes | undefined): string {
  if (!times) return "the store manifest cannot be read; run bolthole verify\n";
  const { horizonMs, storeTimeMs, latestMs } = times;
  const rows: [string, string][] = [
    ["horizon", `${instantText(horizonMs)}, request ids below it are refused`],
    ["store time", instantText(storeTimeMs)],
    ["latest", `${instantText(latestMs)}, request ids above it are refused for now`],
  ];
  if (horizonMs > Date.now()) {
    const above = `the horizon is ${duration(horizonMs - Date.now())} above the clock of this machine, as after a restore`;
    rows.push(["note", `${above}; if the clock is right and no earlier request can arrive, use --set now`]);
  }
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");
}
