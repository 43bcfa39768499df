import { type ChildProcess, fork } from "node:child_process";
import { type BoltholeStore, connect } from "@bolthole/client";
import { LedgerTail, LedgerWriter } from "../ledger.js";
import { Random } from "../random.js";
import { RuntimeWriter, readDuringWrites } from "./runtime-writer.js";

/** The address at which a client reaches the daemon, and its token. */
export interface Endpoint {
  readonly target: string;
  /** The bearer token, for TCP. */
  readonly token?: string | undefined;
}

/** A command from the harness to a client process. */
type ClientCommand =
  | { readonly do: "load"; readonly endpoint: Endpoint }
  /** Send no new operation; the load ends when those in progress have ended. */
  | { readonly do: "halt" }
  /** Settle the operations without a response. */
  | { readonly do: "settle"; readonly endpoint: Endpoint };

type ClientReport = { readonly done: "load" | "settle" } | { readonly failed: string };

/** The settings of a client process; its only argument, as JSON. */
interface ClientSettings {
  readonly name: string;
  readonly seed: number;
  readonly writers: number;
  /** The size of the sessions of its first writer. The sessions of the other writers are small. */
  readonly sessions: "small" | "large" | "huge";
  /** Whether its writers also update the OAuth value, which all clients share. */
  readonly sharesOauth: boolean;
  readonly ledger: string;
  /** Refusals that the fault explains, besides those of a daemon that does not run. */
  readonly allowedRefusals: readonly string[];
}

/** The longest time of a command. It is longer than any deadline of a client. */
const STUCK_MS = 180_000;

/** A client that runs in a separate process, and its ledger. */
export class ClientProcess {
  readonly ledger: LedgerTail;
  private readonly child: ChildProcess;
  private failure: Error | undefined;
  private pending: { resolve: () => void; reject: (error: Error) => void } | undefined;

  constructor(settings: ClientSettings) {
    this.ledger = new LedgerTail(settings.ledger);
    this.child = fork(__filename, [JSON.stringify(settings)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.child.on("message", (report: ClientReport) => {
      if ("failed" in report) this.fail(new Error(`a client failed: ${report.failed}`));
      else this.pending?.resolve();
    });
    this.child.once("exit", (code, signal) => {
      this.fail(new Error(`a client ended with ${String(code ?? signal)}`));
    });
  }

  /** Sends a command. Resolves when the client reports that it is done. */
  run(command: ClientCommand): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`a client did not finish within ${STUCK_MS} ms`));
      }, STUCK_MS);
      const end = (act: () => void) => (): void => {
        clearTimeout(timer);
        this.pending = undefined;
        act();
      };
      this.pending = {
        resolve: end(resolve),
        reject: (error) => {
          end(() => {
            reject(error);
          })();
        },
      };
      this.child.send(command);
    });
  }

  /** Ends a load. The promise of `run` resolves when the operations in progress have ended. */
  halt(): void {
    if (this.child.connected) this.child.send({ do: "halt" } satisfies ClientCommand);
  }

  end(): Promise<void> {
    this.ledger.close();
    if (this.child.exitCode !== null || this.child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.child.once("exit", () => {
        resolve();
      });
      this.child.kill("SIGKILL");
    });
  }

  private fail(error: Error): void {
    this.failure = error;
    this.pending?.reject(error);
  }
}

const CONNECT_MS = 30_000;
const SIZES = {
  small: { firstMessageBytes: 400, documentBytes: 40_000 },
  /** Documents that the daemon checks in a worker thread. */
  large: { firstMessageBytes: 150_000, documentBytes: 400_000 },
  /** Documents that are larger than one group of commits. */
  huge: { firstMessageBytes: 1_500_000, documentBytes: 4_000_000 },
};

/** The client itself, in its own process. */
class Client {
  private readonly ledger: LedgerWriter;
  private readonly writers: readonly RuntimeWriter[];
  private readonly random: Random;
  private halting = new AbortController();

  constructor({ name, seed, writers, sessions, sharesOauth, ledger, allowedRefusals }: ClientSettings) {
    this.ledger = new LedgerWriter(ledger);
    this.random = new Random(seed);
    this.writers = Array.from({ length: writers }, (_, index) => {
      const size = SIZES[index === 0 ? sessions : "small"];
      const random = new Random(seed * 1000 + index);
      return new RuntimeWriter(
        `${name} writer ${String(index)}`,
        size,
        random,
        this.ledger,
        allowedRefusals,
        sharesOauth,
      );
    });
  }

  async load(endpoint: Endpoint): Promise<void> {
    this.halting = new AbortController();
    const { signal } = this.halting;
    await withStores(endpoint, async (store, other) => {
      const someRuntime = (): string => this.writers[this.random.below(this.writers.length)]?.state.runtimeId ?? "";
      await Promise.all([
        ...this.writers.map((writer) => writer.load(store.versioned, signal)),
        readDuringWrites(other.versioned, someRuntime, this.random, this.ledger, signal),
      ]);
    });
  }

  async settle(endpoint: Endpoint): Promise<void> {
    await withStores(endpoint, async (store) => {
      await Promise.all(this.writers.map((writer) => writer.settle(store.versioned)));
    });
  }

  halt(): void {
    this.halting.abort();
  }
}

async function withStores(
  { target, token }: Endpoint,
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

function main(settings: ClientSettings): void {
  const client = new Client(settings);
  const report = (message: ClientReport): void => {
    process.send?.(message);
  };
  const reportEnd = (work: Promise<void>, done: "load" | "settle"): void => {
    work.then(
      () => {
        report({ done });
      },
      (error: unknown) => {
        report({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) });
      },
    );
  };
  process.on("message", (command: ClientCommand) => {
    if (command.do === "halt") client.halt();
    else if (command.do === "load") reportEnd(client.load(command.endpoint), "load");
    else reportEnd(client.settle(command.endpoint), "settle");
  });
  // The harness has ended.
  process.on("disconnect", () => process.exit(0));
}

if (require.main === module) main(JSON.parse(process.argv[2] ?? "") as ClientSettings);
