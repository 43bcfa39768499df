import { copyFileSync, cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonProcess } from "@bolthole/conformance/process";
import type { Model } from "../check/model.js";
import { ClientProcess } from "../client-process.js";
import { DAEMON } from "../daemon-main.js";

const LANES = 24;
const POLL_MS = 20;
const ACKNOWLEDGED_BEFORE = 900;
const ACKNOWLEDGED_AFTER = 300;

/** A store that a real load left, and what its data file was some commits before. */
export interface BaseStore {
  readonly folder: string;
  readonly file: Buffer;
  readonly older: Buffer;
}

/** The model follows the load: it knows what must be stored. Every operation is settled at the end. */
export async function makeBaseStore(folder: string, seed: number, model: Model): Promise<BaseStore> {
  const data = join(folder, "base");
  const daemon = new DaemonProcess({ main: DAEMON, data, args: ["--log-level", "warn"] });
  const client = new ClientProcess({
    name: "load",
    seed,
    lanes: LANES,
    sessions: "large",
    sharesOauth: true,
    ledger: join(folder, "ledger.jsonl"),
    excuses: [],
  });
  const load = async (acknowledged: number): Promise<void> => {
    await daemon.start();
    const wanted = model.counts.acknowledged + acknowledged;
    const loading = client.carryOut({ do: "load", way: { target: daemon.target } });
    loading.catch(() => undefined);
    const read = (): void => {
      for (const line of client.ledger.read()) model.take(line);
    };
    while (model.counts.acknowledged < wanted) {
      await Promise.race([loading, sleep(POLL_MS)]);
      read();
    }
    client.halt();
    await loading;
    await client.carryOut({ do: "resolve", way: { target: daemon.target } });
    read();
    await daemon.stop();
  };
  try {
    await load(ACKNOWLEDGED_BEFORE);
    copyFileSync(join(data, "data.mdb"), join(folder, "older.mdb"));
    await load(ACKNOWLEDGED_AFTER);
  } finally {
    await client.end();
    await daemon.stop("SIGKILL");
  }
  return { folder: data, file: readFileSync(join(data, "data.mdb")), older: readFileSync(join(folder, "older.mdb")) };
}

/** A copy for one mutation; the data file is the caller's to write. */
export function copyStore({ folder }: BaseStore, to: string): void {
  cpSync(folder, to, { recursive: true, filter: (name) => !name.endsWith(".mdb") && !name.endsWith(".sock") });
}
