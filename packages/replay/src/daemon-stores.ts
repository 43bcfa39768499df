import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import type { Capabilities, StoreFactory, StoreHandle, StoreSite } from "@bolthole/conformance";
import { DaemonProcess } from "@bolthole/conformance/process";
import { putRawRow } from "@bolthole/sqlite";

const MAIN = require.resolve("@bolthole/daemon/bin");

export type EngineName = "lmdb" | "sqlite" | "memory";

export const capabilitiesOf = (engine: EngineName): Capabilities => ({
  durable: engine !== "memory",
  versions: true,
  transcriptRules: true,
  fullSequences: engine !== "sqlite",
  holds: false,
  rawRows: engine === "sqlite",
});

/** Where the daemon's own files lie (docs/operating.md). */
const homeOf = (engine: EngineName, data: string): string => (engine === "sqlite" ? `${data}.bolthole` : data);

/** Writes past the store, where it lies in the reference's tables. */
export const rawRowsOf = (engine: EngineName, data: string): StoreHandle["putRawRow"] =>
  engine === "sqlite" ? (row) => putRawRow(data, row) : undefined;

/** A daemon process for every site, reached through the real client. */
export class DaemonStores implements StoreFactory {
  readonly capabilities: Capabilities;
  private readonly sites = new Set<DaemonSite>();

  constructor(
    private readonly engine: EngineName,
    /** How a daemon is ended before its store is opened again. */
    private readonly signal: NodeJS.Signals,
  ) {
    this.capabilities = capabilitiesOf(engine);
  }

  createSite(): Promise<StoreSite> {
    const site = new DaemonSite(this.engine, this.signal, () => this.sites.delete(site));
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
    private readonly removed: () => void,
  ) {
    const args = ["--engine", engine, "--log-level", "silent"];
    this.daemon = new DaemonProcess({ main: MAIN, data: this.data, home: homeOf(engine, this.data), args });
  }

  async open(): Promise<StoreHandle> {
    await this.daemon.start();
    const store = await connect(this.daemon.target);
    const close = async (): Promise<void> => {
      await store.close();
      await this.daemon.stop(this.signal);
    };
    return { store, versioned: store.versioned, putRawRow: rawRowsOf(this.engine, this.data), close };
  }

  async remove(): Promise<void> {
    await this.daemon.stop("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
    this.removed();
  }
}
