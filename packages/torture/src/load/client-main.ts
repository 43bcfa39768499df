import { type BoltholeStore, connect } from "@bolthole/client";
import { LedgerWriter } from "../ledger/ledger-writer.js";
import type { Way } from "../kinds/kind.js";
import { Random } from "../random.js";
import { Lane } from "./lane.js";
import type { ClientSettings, Order, Report } from "./messages.js";
import { readAlong } from "./reader.js";

const CONNECT_MS = 30_000;
const SIZES = {
  small: { firstMessageBytes: 400, documentBytes: 40_000 },
  /** Beyond what is checked on the daemon's own thread. */
  large: { firstMessageBytes: 150_000, documentBytes: 400_000 },
  /** Beyond what one group of commits holds. */
  huge: { firstMessageBytes: 1_500_000, documentBytes: 4_000_000 },
};

const settings = JSON.parse(process.argv[2] ?? "") as ClientSettings;
const ledger = new LedgerWriter(settings.ledger);
const lanes = Array.from({ length: settings.lanes }, (_, index) => {
  const random = new Random(settings.seed * 1000 + index);
  return new Lane(
    `${settings.name} lane ${String(index)}`,
    SIZES[index === 0 ? settings.sessions : "small"],
    random,
    ledger,
    settings.excuses,
    settings.sharesOauth,
  );
});
const random = new Random(settings.seed);
let halt = new AbortController();

async function load(way: Way): Promise<void> {
  halt = new AbortController();
  const { signal } = halt;
  await withStores(way, async (store, other) => {
    const readRuntime = (): string => lanes[random.below(lanes.length)]?.state.runtimeId ?? "";
    await Promise.all([
      ...lanes.map((lane) => lane.load(store.versioned, signal)),
      readAlong(other.versioned, readRuntime, random, ledger, signal),
    ]);
  });
}

const resolve = (way: Way): Promise<void> =>
  withStores(way, async (store) => {
    await Promise.all(lanes.map((lane) => lane.resolve(store.versioned)));
  });

async function withStores(
  { target, token }: Way,
  use: (one: BoltholeStore, other: BoltholeStore) => Promise<void>,
): Promise<void> {
  const stores = await Promise.all([1, 2].map(() => connect(target, { token, timeoutMs: CONNECT_MS })));
  try {
    const [one, other] = stores as [BoltholeStore, BoltholeStore];
    await use(one, other);
  } finally {
    await Promise.all(stores.map((store) => store.close()));
  }
}

const report = (message: Report): void => {
  process.send?.(message);
};

const carryOut = (work: Promise<void>, done: "load" | "resolve"): void => {
  work.then(
    () => {
      report({ done });
    },
    (error: unknown) => {
      report({ broken: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    },
  );
};

process.on("message", (order: Order) => {
  if (order.do === "halt") halt.abort();
  else if (order.do === "load") carryOut(load(order.way), "load");
  else carryOut(resolve(order.way), "resolve");
});
// The one who started it is gone.
process.on("disconnect", () => process.exit(0));
