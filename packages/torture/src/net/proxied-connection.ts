import { once } from "node:events";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fault, Misfortune } from "./faults.js";

export interface Troubles {
  /** Whether faults happen now. */
  isOn(): boolean;
  note(fault: Fault): void;
}

/** A client's connection and the daemon's, with both directions between them. */
export class ProxiedConnection {
  private readonly pumps: Promise<void>[];

  constructor(
    private readonly client: Socket,
    private readonly daemon: Socket,
    private readonly troubles: Troubles,
    misfortunes: { readonly toDaemon: Misfortune; readonly toClient: Misfortune },
  ) {
    // What a broken connection says is what this is all about; who reads from it is told by its end.
    for (const socket of [client, daemon]) socket.on("error", () => undefined);
    this.pumps = [this.pump(client, daemon, misfortunes.toDaemon), this.pump(daemon, client, misfortunes.toClient)];
  }

  /** When both directions are over. */
  async ended(): Promise<void> {
    await Promise.all(this.pumps);
  }

  cut(): void {
    this.client.destroy();
    this.daemon.destroy();
  }

  private cutAfter(ms: number): void {
    setTimeout(() => {
      this.cut();
    }, ms);
  }

  private async pump(from: Socket, to: Socket, misfortune: Misfortune): Promise<void> {
    let isLeadingNowhere = false;
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (isLeadingNowhere) continue;
        const meets = this.troubles.isOn() ? misfortune.within(chunk.length) : undefined;
        await write(to, meets ? chunk.subarray(0, meets.at) : chunk);
        if (!meets) continue;
        this.troubles.note(meets.fault);
        const rest = chunk.subarray(meets.at);
        isLeadingNowhere = !(await this.suffer(meets.fault, to, rest, misfortune));
      }
      to.end();
    } catch {
      // One end is gone: so is the other.
      this.cut();
    }
  }

  /** Answers whether this direction goes on. */
  private async suffer(fault: Fault, to: Socket, rest: Buffer, misfortune: Misfortune): Promise<boolean> {
    switch (fault) {
      case "delay":
        await sleep(misfortune.delayMs());
        await write(to, rest);
        return true;
      case "cut":
        this.cut();
        return false;
      case "lateDelivery":
        this.client.destroy();
        await sleep(misfortune.delayMs());
        if (to !== this.client) await write(to, rest);
        this.daemon.end();
        return false;
      case "swallow":
        this.cutAfter(misfortune.silenceMs());
        return false;
      case "halfClose":
        to.end();
        this.cutAfter(misfortune.silenceMs());
        return false;
    }
  }
}

async function write(to: Socket, bytes: Buffer): Promise<void> {
  if (to.destroyed) throw new Error("the other end is gone");
  if (bytes.length === 0 || to.write(bytes)) return;
  const settled = new AbortController();
  const { signal } = settled;
  try {
    await Promise.race([once(to, "drain", { signal }), once(to, "close", { signal })]);
  } finally {
    settled.abort();
  }
}
