import { copyFileSync, cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonProcess } from "@bolthole/conformance/process";
import type { LedgerModel } from "../check/ledger-model.js";
import { DAEMON } from "../daemon.js";
import { ClientProcess } from "../load/client-process.js";
import type { Random } from "../random.js";

const WRITERS = 24;
const POLL_MS = 20;
const ACKNOWLEDGED_BEFORE = 900;
const ACKNOWLEDGED_AFTER = 300;

/** A store that a real load wrote, and an older state of its data file. */
export interface BaseStore {
  readonly folder: string;
  readonly file: Buffer;
  readonly older: Buffer;
}

/** Makes a store with a load, and settles every operation. The model then contains what must be stored. */
export async function makeBaseStore(folder: string, seed: number, model: LedgerModel): Promise<BaseStore> {
  const data = join(folder, "base");
  const daemon = new DaemonProcess({ main: DAEMON, data, args: ["--log-level", "warn"] });
  const client = new ClientProcess({
    name: "load",
    seed,
    writers: WRITERS,
    sessions: "large",
    sharesOauth: true,
    ledger: join(folder, "ledger.jsonl"),
    allowedRefusals: [],
  });
  const load = async (acknowledged: number): Promise<void> => {
    await daemon.start();
    const wanted = model.counts.acknowledged + acknowledged;
    const loading = client.run({ do: "load", endpoint: { target: daemon.target } });
    loading.catch(() => undefined);
    const read = (): void => {
      for (const line of client.ledger.read()) model.add(line);
    };
    while (model.counts.acknowledged < wanted) {
      await Promise.race([loading, sleep(POLL_MS)]);
      read();
    }
    client.halt();
    await loading;
    await client.run({ do: "settle", endpoint: { target: daemon.target } });
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

/** Copies the store without its data file, which the caller writes. */
export function copyStore({ folder }: BaseStore, to: string): void {
  cpSync(folder, to, { recursive: true, filter: (name) => !name.endsWith(".mdb") && !name.endsWith(".sock") });
}

const PAGE = 4096;
/** The meta pages. They name the newest state, so an old copy of them is an older store, which cannot be detected. */
const FIRST_PAGES = 2;

/** A change of a data file. `older` is an earlier state of the file. */
interface Mutation {
  readonly name: string;
  apply(file: Buffer, older: Buffer, random: Random): Buffer;
}

const pageAt = (file: Buffer, page: number): Buffer => file.subarray(page * PAGE, (page + 1) * PAGE);

/** Returns the number of pages in use so far. The rest of the file is filled with zeros. */
function pagesOf(file: Buffer): number {
  const lastPage = (at: number): number => Number(file.readBigUInt64LE(at + 144));
  return Math.max(lastPage(0), lastPage(PAGE)) + 1;
}

const anyPage = (file: Buffer, random: Random, from = 0): number => from + random.below(pagesOf(file) - from);

/** Acts one to four times. */
function few(random: Random, act: () => void): void {
  const times = 1 + random.below(4);
  for (let time = 0; time < times; time += 1) act();
}

type Apply = Mutation["apply"];

const flipWithin =
  (bytesOfPage: number): Apply =>
  (file, _older, random) => {
    few(random, () => {
      const at = anyPage(file, random) * PAGE + random.below(bytesOfPage);
      file[at] = (file[at] ?? 0) ^ (1 << random.below(8));
    });
    return file;
  };

/** The end of the key of an input row, before its id: the end of the runtime id, and the number of the table. */
const INPUT_KEY = Buffer.of(0, 1, 4);
const INPUT_ID_BYTES = 16;
/** The form of a row without a document. */
const ROW_FORM = Buffer.of(2, 0xff);
/** A row begins with its form, its checksum and the number of its commit. */
const ROW_HEADER_BYTES = 20;

/** Flips bits in the headers of input rows, where random bits seldom are. */
const flipRowHeaders: Apply = (file, _older, random) => {
  const rows: number[] = [];
  for (let at = file.indexOf(INPUT_KEY); at >= 0; at = file.indexOf(INPUT_KEY, at + 1)) {
    const row = at + INPUT_KEY.length + INPUT_ID_BYTES;
    if (file.subarray(row, row + ROW_FORM.length).equals(ROW_FORM)) rows.push(row);
  }
  few(random, () => {
    const at = (rows[random.below(rows.length)] ?? 0) + random.below(ROW_HEADER_BYTES);
    file[at] = (file[at] ?? 0) ^ (1 << random.below(8));
  });
  return file;
};

const zero: Apply = (file, _older, random) => {
  few(random, () => pageAt(file, anyPage(file, random)).fill(0));
  return file;
};

const swap: Apply = (file, _older, random) => {
  few(random, () => {
    const [one, other] = [pageAt(file, anyPage(file, random)), pageAt(file, anyPage(file, random))];
    const copy = Buffer.from(one);
    other.copy(one);
    copy.copy(other);
  });
  return file;
};

/** Restores the first bytes of a page to their older state. */
const restoreOlder =
  (bytesOfPage: (random: Random) => number): Apply =>
  (file, older, random) => {
    few(random, () => {
      const page = FIRST_PAGES + random.below(Math.min(pagesOf(file), pagesOf(older)) - FIRST_PAGES);
      pageAt(older, page).copy(file, page * PAGE, 0, bytesOfPage(random));
    });
    return file;
  };

const truncate: Apply = (file, _older, random) => file.subarray(0, random.below(pagesOf(file) * PAGE));

const otherFormat: Apply = (file, _older, random) => {
  const bytes = Buffer.alloc(file.length, "a file of another format, ");
  // Sometimes the first pages are the original ones.
  if (random.below(2) === 0) file.copy(bytes, 0, 0, PAGE * (1 + random.below(4)));
  return bytes;
};

export const MUTATIONS: readonly Mutation[] = [
  { name: "flipped bits", apply: flipWithin(PAGE) },
  { name: "flipped bits in page headers", apply: flipWithin(64) },
  { name: "flipped bits in row headers", apply: flipRowHeaders },
  { name: "zeroed pages", apply: zero },
  { name: "swapped pages", apply: swap },
  { name: "stale pages", apply: restoreOlder(() => PAGE) },
  { name: "torn pages", apply: restoreOlder((random) => 512 * (1 + random.below(7))) },
  { name: "truncated file", apply: truncate },
  { name: "file of another format", apply: otherFormat },
];
