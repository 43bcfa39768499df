import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, type NetConnectOpts, type Server, type Socket, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DaemonProcess } from "@bolthole/conformance/process";
import { faultKind } from "../fault-run.js";
import { Random } from "../random.js";

const LONGEST_FAULTS_MS = 3000;

/** Breaks connections between clients and daemon, on the unix socket and on TCP. The daemon is not stopped. */
export const net = faultKind({
  name: "net",
  description: "connections that are cut, delayed, silently dropped and half-closed at random bytes",
  acknowledgedBefore: 50,
  withinMs: 200,
  endings: [],
  allowedRefusals: [],
  mountsDisk: false,
  prepare: (folder) => {
    const data = join(folder, "data");
    let proxies: Proxy[] = [];
    const setFaults = (isOn: boolean): void => {
      for (const proxy of proxies) proxy.injectsFaults = isOn;
    };
    const proxiesOf = async (daemon: DaemonProcess, random: Random): Promise<Proxy[]> => {
      const made = daemon.targets.map((target, index) =>
        Proxy.before(target, join(folder, `proxy-${String(index)}.sock`), new Random(random.below(1 << 30))),
      );
      return Promise.all(made);
    };
    return Promise.resolve({
      data,
      args: ["--listen", "127.0.0.1:0"],
      endpoints: async (daemon, random) => {
        if (proxies.length === 0) proxies = await proxiesOf(daemon, random);
        const token = readFileSync(join(data, "token"), "utf8").trim();
        return proxies.map(({ target }) => ({ target, token: target.startsWith("unix:") ? undefined : token }));
      },
      injectFault: async ({ random, count }) => {
        setFaults(true);
        await sleep(LONGEST_FAULTS_MS / 4 + random.below((LONGEST_FAULTS_MS * 3) / 4));
        setFaults(false);
        for (const proxy of proxies) for (const [fault, times] of proxy.takeFaults()) count(fault, times);
        return undefined;
      },
      recover: () => Promise.resolve(),
      dispose: async () => {
        await Promise.all(proxies.map((proxy) => proxy.close()));
      },
    });
  },
});

/** A proxy for one address of the daemon, on the same kind of socket. Faults happen while `injectsFaults` is true. */
export class Proxy {
  injectsFaults = false;
  private faults = new Map<Fault, number>();
  private readonly connections = new Set<ProxiedConnection>();

  private constructor(
    readonly target: string,
    private readonly server: Server,
  ) {}

  /** Starts a proxy. `path` is its own socket, when the daemon's address is a unix socket. */
  static async before(daemonTarget: string, path: string, random: Random): Promise<Proxy> {
    const isOnSocket = daemonTarget.startsWith("unix:");
    const upstream = connectOptions(daemonTarget);
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve) => {
      if (isOnSocket) server.listen(path, resolve);
      else server.listen(0, "127.0.0.1", resolve);
    });
    const target = isOnSocket ? `unix:${path}` : `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const proxy = new Proxy(target, server);
    const faults = {
      isOn: () => proxy.injectsFaults,
      note: (fault: Fault) => {
        proxy.faults.set(fault, (proxy.faults.get(fault) ?? 0) + 1);
      },
    };
    server.on("connection", (client) => {
      const daemon = connect({ ...upstream, allowHalfOpen: true });
      const connection = new ProxiedConnection(client, daemon, faults, {
        toDaemon: new FaultSchedule(random),
        toClient: new FaultSchedule(random),
      });
      proxy.connections.add(connection);
      void connection.ended().then(() => proxy.connections.delete(connection));
    });
    return proxy;
  }

  /** Returns the faults since the last call, with their counts. */
  takeFaults(): Map<Fault, number> {
    const { faults } = this;
    this.faults = new Map();
    return faults;
  }

  close(): Promise<void> {
    for (const connection of this.connections) connection.cut();
    return new Promise((resolve) => {
      this.server.close(() => {
        resolve();
      });
    });
  }
}

function connectOptions(target: string): NetConnectOpts {
  if (target.startsWith("unix:")) return { path: target.slice("unix:".length) };
  const colon = target.lastIndexOf(":");
  return { host: target.slice(0, colon), port: Number(target.slice(colon + 1)), noDelay: true };
}

interface FaultControl {
  /** Whether faults are injected now. */
  isOn(): boolean;
  note(fault: Fault): void;
}

/** The connection of one client to the daemon: two sockets, and the two directions between them. */
class ProxiedConnection {
  private readonly pumps: Promise<void>[];

  constructor(
    private readonly client: Socket,
    private readonly daemon: Socket,
    private readonly faults: FaultControl,
    schedules: { readonly toDaemon: FaultSchedule; readonly toClient: FaultSchedule },
  ) {
    // Errors are expected here. The reading side sees the end of the stream.
    for (const socket of [client, daemon]) socket.on("error", () => undefined);
    this.pumps = [this.pump(client, daemon, schedules.toDaemon), this.pump(daemon, client, schedules.toClient)];
  }

  /** Resolves when both directions have ended. */
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

  private async pump(from: Socket, to: Socket, schedule: FaultSchedule): Promise<void> {
    let isDropped = false;
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (isDropped) continue;
        const hit = this.faults.isOn() ? schedule.within(chunk.length) : undefined;
        await write(to, hit ? chunk.subarray(0, hit.at) : chunk);
        if (!hit) continue;
        this.faults.note(hit.fault);
        const rest = chunk.subarray(hit.at);
        isDropped = !(await this.inject(hit.fault, to, rest, schedule));
      }
      to.end();
    } catch {
      // One socket is closed, so the other is closed too.
      this.cut();
    }
  }

  /** Injects a fault. Returns whether this direction still transfers data. */
  private async inject(fault: Fault, to: Socket, rest: Buffer, schedule: FaultSchedule): Promise<boolean> {
    switch (fault) {
      case "delay":
        await sleep(schedule.delayMs());
        await write(to, rest);
        return true;
      case "cut":
        this.cut();
        return false;
      case "lateDelivery":
        this.client.destroy();
        await sleep(schedule.delayMs());
        if (to !== this.client) await write(to, rest);
        this.daemon.end();
        return false;
      case "swallow":
        this.cutAfter(schedule.silenceMs());
        return false;
      case "halfClose":
        to.end();
        this.cutAfter(schedule.silenceMs());
        return false;
    }
  }
}

async function write(to: Socket, bytes: Buffer): Promise<void> {
  if (to.destroyed) throw new Error("the other socket is closed");
  if (bytes.length === 0 || to.write(bytes)) return;
  const settled = new AbortController();
  const { signal } = settled;
  try {
    await Promise.race([once(to, "drain", { signal }), once(to, "close", { signal })]);
  } finally {
    settled.abort();
  }
}

/** The faults of one direction of a connection, with their weights. The seed determines the byte at which one happens. */
const FAULTS = {
  /** Both sides lose the connection. */
  cut: 3,
  /** The client loses the connection. The bytes that it sent reach the daemon later. */
  lateDelivery: 3,
  /** The direction pauses. */
  delay: 4,
  /** All further bytes are dropped, and the connection is cut later. */
  swallow: 2,
  /** This direction ends. The other one continues until the connection is cut later. */
  halfClose: 2,
} as const;

type Fault = keyof typeof FAULTS;

/** The largest number of bytes between two faults of one direction. */
const MOST_BYTES_BETWEEN = 40_000;
const LONGEST_DELAY_MS = 900;
/** The longest time without bytes. It is longer than the short deadline of a writer and shorter than its long one. */
const LONGEST_SILENCE_MS = 1500;

/** Chooses the next fault of one direction and the byte at which it happens. */
class FaultSchedule {
  private bytesLeft: number;

  constructor(private readonly random: Random) {
    this.bytesLeft = random.below(MOST_BYTES_BETWEEN);
  }

  /** Returns the fault within the next bytes, and its position; undefined when there is no fault in them. */
  within(bytes: number): { readonly at: number; readonly fault: Fault } | undefined {
    if (bytes < this.bytesLeft) {
      this.bytesLeft -= bytes;
      return undefined;
    }
    const at = this.bytesLeft;
    this.bytesLeft = this.random.below(MOST_BYTES_BETWEEN);
    return { at, fault: this.random.weighted(FAULTS) };
  }

  delayMs(): number {
    return this.random.below(LONGEST_DELAY_MS);
  }

  silenceMs(): number {
    return this.random.below(LONGEST_SILENCE_MS);
  }
}
