import { type AddressInfo, type NetConnectOpts, type Server, connect, createServer } from "node:net";
import type { Random } from "../random.js";
import { type Fault, Misfortune } from "./faults.js";
import { ProxiedConnection } from "./proxied-connection.js";

/** Stands between clients and one of the daemon's ways in, on the same kind of socket, and is in trouble while it is told so. */
export class Proxy {
  isInTrouble = false;
  private faults = new Map<Fault, number>();
  private readonly connections = new Set<ProxiedConnection>();

  private constructor(
    readonly target: string,
    private readonly server: Server,
  ) {}

  /** `path` is where a proxy of a unix socket listens. */
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
    const troubles = {
      isOn: () => proxy.isInTrouble,
      note: (fault: Fault) => {
        proxy.faults.set(fault, (proxy.faults.get(fault) ?? 0) + 1);
      },
    };
    server.on("connection", (client) => {
      const daemon = connect({ ...upstream, allowHalfOpen: true });
      const connection = new ProxiedConnection(client, daemon, troubles, {
        toDaemon: new Misfortune(random),
        toClient: new Misfortune(random),
      });
      proxy.connections.add(connection);
      void connection.ended().then(() => proxy.connections.delete(connection));
    });
    return proxy;
  }

  /** What happened since the last time, and how often. */
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
