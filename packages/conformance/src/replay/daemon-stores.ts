import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RuntimeStore, VersionedStore } from "@bolthole/contract";
import { DaemonProcess } from "../daemon-process.js";
import type { Capabilities, RawRow, StoreFactory, StoreHandle, StoreSite } from "../store-factory.js";

export type EngineName = "lmdb" | "sqlite" | "memory";

/** A store that is reached over a connection. */
export interface ConnectedStore extends RuntimeStore {
  readonly versioned: VersionedStore;
  close(): Promise<void>;
}

/**
 * The product parts that the program drives. The caller passes them in, because the test kit depends on the contract only:
 * the tests of the product packages depend on the test kit.
 */
export interface ReplayParts {
  /** The script of the command `bolthole`. */
  readonly daemon: string;
  /** Connects a client to a daemon. */
  readonly connect: (target: string, options?: { readonly token?: string | undefined }) => Promise<ConnectedStore>;
  /** Writes an external row into a database file of the SQLite engine. */
  readonly putRawRow: (file: string, row: RawRow) => Promise<void>;
}

/** A daemon process for each site, reached through the client. */
export class DaemonStores implements StoreFactory {
  readonly capabilities: Capabilities;
  private readonly sites = new Set<DaemonSite>();

  constructor(
    private readonly engine: EngineName,
    /** The signal that ends a daemon before its store is opened again. */
    private readonly signal: NodeJS.Signals,
    private readonly parts: ReplayParts,
  ) {
    this.capabilities = {
      durable: engine !== "memory",
      versions: true,
      transcriptRules: true,
      fullSequences: engine !== "sqlite",
      holds: false,
      rawRows: engine === "sqlite",
      transfers: false,
    };
  }

  createSite(): Promise<StoreSite> {
    const site = new DaemonSite(this.engine, this.signal, this.parts, () => this.sites.delete(site));
    this.sites.add(site);
    return Promise.resolve(site);
  }

  /** Ends every daemon that still runs, and removes its data. */
  async removeAll(): Promise<void> {
    await Promise.all([...this.sites].map((site) => site.remove()));
  }
}

class DaemonSite implements StoreSite {
  private readonly folder = mkdtempSync(join(tmpdir(), "bolthole-replay-"));
  private readonly data = join(this.folder, "data");
  private readonly daemon: DaemonProcess;

  constructor(
    private readonly engine: EngineName,
    private readonly signal: NodeJS.Signals,
    private readonly parts: ReplayParts,
    private readonly onRemoved: () => void,
  ) {
    const { data } = this;
    this.daemon = new DaemonProcess({
      main: parts.daemon,
      data,
      // With the SQLite engine, the data is a file and the daemon's own files are in a folder beside it.
      home: engine === "sqlite" ? `${data}.bolthole` : data,
      args: ["--engine", engine, "--log-level", "silent"],
    });
  }

  async open(): Promise<StoreHandle> {
    await this.daemon.start();
    const store = await this.parts.connect(this.daemon.target);
    return {
      store,
      versioned: store.versioned,
      putRawRow: this.engine === "sqlite" ? (row) => this.parts.putRawRow(this.data, row) : undefined,
      close: async () => {
        await store.close();
        await this.daemon.stop(this.signal);
      },
    };
  }

  async remove(): Promise<void> {
    await this.daemon.stop("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
    this.onRemoved();
  }
}

/** A daemon that already runs. It is neither emptied nor restarted: use `hasDataOf` to skip traces that would collide. */
export const runningDaemon = (connect: () => Promise<ConnectedStore>): StoreFactory => ({
  capabilities: {
    durable: false,
    versions: true,
    transcriptRules: true,
    fullSequences: true,
    holds: false,
    rawRows: false,
    transfers: false,
  },
  createSite: () =>
    Promise.resolve({
      async open() {
        const store = await connect();
        return { store, versioned: store.versioned, close: () => store.close() };
      },
      remove: () => Promise.resolve(),
    }),
});

/** Returns whether a store has data of these runtimes, or OAuth state when `withOauth` is true. */
export async function hasDataOf(
  connect: () => Promise<ConnectedStore>,
  runtimeIds: ReadonlySet<string>,
  withOauth: boolean,
): Promise<boolean> {
  const store = await connect();
  try {
    if (withOauth && (await store.loadAuthOauthFlowSnapshot()) !== undefined) return true;
    for await (const id of runtimeIdsIn(store.versioned)) if (runtimeIds.has(id)) return true;
    return false;
  } finally {
    await store.close();
  }
}

async function* runtimeIdsIn(store: VersionedStore): AsyncGenerator<string> {
  let pageToken = "";
  do {
    const page = await store.listRuntimes({ pageSize: 1000, pageToken });
    for (const { runtimeId } of page.runtimes) yield runtimeId;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}
