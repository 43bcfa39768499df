import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import type { Capabilities, StoreFactory, StoreHandle, StoreSite } from "@bolthole/conformance";
import { DaemonProcess } from "@bolthole/conformance/process";

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
  private readonly daemon: DaemonProcess;

  constructor(
    engine: EngineName,
    private readonly signal: NodeJS.Signals,
    private readonly removed: () => void,
  ) {
    const args = ["--engine", engine, "--log-level", "silent"];
    this.daemon = new DaemonProcess({ main: MAIN, data: join(this.folder, "data"), args });
  }

  async open(): Promise<StoreHandle> {
    await this.daemon.start();
    const store = await connect(this.daemon.target);
    const close = async (): Promise<void> => {
      await store.close();
      await this.daemon.stop(this.signal);
    };
    return { store, versioned: store.versioned, close };
  }

  async remove(): Promise<void> {
    await this.daemon.stop("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
    this.removed();
  }
}
