import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuMsOf } from "../machine.js";

const START_MS = 20_000;
const POLL_MS = 50;
const END_MS = 10_000;

/** The part of etcd's interface that a Put needs, with etcd's field numbers (etcdserverpb/rpc.proto). */
const PROTO = `syntax = "proto3";
package etcdserverpb;
service KV { rpc Put(PutRequest) returns (PutResponse); }
message PutRequest { bytes key = 1; bytes value = 2; }
message PutResponse {}
`;

/** One etcd node on loopback ports. It flushes every Put before it responds. */
export class Etcd {
  readonly name = "etcd";

  private constructor(
    private readonly child: ChildProcess,
    readonly target: string,
    /** The file that declares `Etcd.METHOD`. */
    readonly proto: string,
  ) {}

  static readonly METHOD = "etcdserverpb.KV/Put";

  /** Starts etcd; `etcd` is the path of the program. */
  static async start(etcd: string, folder: string): Promise<Etcd> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const proto = join(folder, "put.proto");
    writeFileSync(proto, PROTO);
    const [client, peer] = [await freePort(), await freePort()].map((port) => `127.0.0.1:${String(port)}`);
    if (client === undefined || peer === undefined) throw new RangeError("there must be two ports");
    const child = spawn(
      etcd,
      [
        ["--data-dir", join(folder, "data"), "--name", "bench", "--logger", "zap", "--log-outputs", "/dev/null"],
        ["--listen-client-urls", `http://${client}`, "--advertise-client-urls", `http://${client}`],
        ["--listen-peer-urls", `http://${peer}`, "--initial-advertise-peer-urls", `http://${peer}`],
        ["--initial-cluster", `bench=http://${peer}`],
      ].flat(),
      { stdio: "ignore" },
    );
    const one = new Etcd(child, client, proto);
    try {
      await one.waitForPort();
      return one;
    } catch (error) {
      await one.close();
      throw error;
    }
  }

  cpuMs(): number {
    return cpuMsOf(this.child.pid ?? -1);
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.kill("SIGTERM");
    const late = setTimeout(() => this.child.kill("SIGKILL"), END_MS);
    await ended;
    clearTimeout(late);
  }

  /** Resolves when the port is open. The first call then waits until the node has elected itself. */
  private async waitForPort(): Promise<void> {
    const [host = "", port = ""] = this.target.split(":");
    for (const limit = Date.now() + START_MS; Date.now() < limit;) {
      if (this.child.exitCode !== null) throw new Error(`etcd ended with ${String(this.child.exitCode)}`);
      const socket = connect(Number(port), host);
      const isOpen = await once(socket, "connect").then(
        () => true,
        () => false,
      );
      socket.destroy();
      if (isOpen) return;
      await sleep(POLL_MS);
    }
    throw new Error(`etcd did not open its port within ${String(START_MS)} ms`);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
