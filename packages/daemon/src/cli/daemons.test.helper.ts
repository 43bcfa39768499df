import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { MAIN } from "./run-command.test.helper.js";

/** The daemons of one test, of which none outlives it. */
export class Daemons {
  private readonly processes: DaemonProcess[] = [];

  /** One that is not started yet, and silent unless the flags say otherwise. */
  add(data: string, args: readonly string[] = [], home?: string): DaemonProcess {
    const daemon = new DaemonProcess({ main: MAIN, data, home, args: ["--log-level", "silent", ...args] });
    this.processes.push(daemon);
    return daemon;
  }

  /** Serves for as long as it is used. */
  async serve<T>(daemon: DaemonProcess, use: (store: BoltholeStore, daemon: DaemonProcess) => Promise<T>): Promise<T> {
    await daemon.start();
    const store = await connect(daemon.target);
    try {
      return await use(store, daemon);
    } finally {
      await store.close();
      await daemon.stop();
    }
  }

  async end(): Promise<void> {
    for (const daemon of this.processes) await daemon.stop("SIGKILL");
  }
}
