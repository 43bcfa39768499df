import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, type IncomingHttpHeaders, connect } from "node:http2";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { framed } from "@bolthole/conformance/http2-frames";
import { HealthProbe, MemoryWatch } from "../daemon.js";
import { Attacker } from "./attacker.js";
import { CHECK, SCENES, type Target } from "./scenes.js";

/*
 * Plays the scenes that apply to etcd against an etcd server, and prints what `torture hostile` prints of Bolthole:
 *
 *   node packages/torture/dist/hostile/etcd.js
 *
 * It needs the program `etcd`. etcd has no token here, and a value of 1 MiB in place of a document of 20 MiB: it accepts no larger one.
 */

const MEBIBYTE = 1024 * 1024;
const PUT = "/etcdserverpb.KV/Put";
const RANGE = "/etcdserverpb.KV/Range";
/** etcd accepts requests of 1.5 MiB, and its gRPC server half a MiB more. */
const LARGEST = 2 * MEBIBYTE;
const VALUE_BYTES = MEBIBYTE;
const LARGE_KEY = "large";
const QUIET_MS = 3_000;
const HOLD_MS = 4_000;
const RECOVERY_MS = 30_000;
const WRITERS = 4;
const PAUSE_MS = 5;
const HEALTH_MS = 10_000;
/** Scenes of Bolthole's protocol, of calls without a token, which are served here, and of reflection, which etcd does not have. */
const OTHER_SCENES = [
  "empty rows",
  "unknown fields",
  "wrong wire types",
  "unread responses",
  "refused calls",
  "reflection without a reader",
  "idle uploads",
];

const field = (number: number, bytes: Uint8Array): Uint8Array =>
  new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(bytes).finish();
/** A request with a key, and with a value if it is a put. */
const request = (key: string, value?: Uint8Array): Buffer =>
  Buffer.concat([field(1, Buffer.from(key)), ...(value ? [field(2, value)] : [])]);

/** A client that puts small values, and asks for the health. */
class HealthyClient {
  private readonly session: ClientHttp2Session;
  private readonly health: HealthProbe;
  private times: number[] = [];
  failures = 0;
  unanswered = 0;
  private isEnding = false;
  private readonly work: Promise<unknown>;

  constructor(port: number) {
    this.session = connect(`http://127.0.0.1:${String(port)}`);
    this.session.on("error", () => undefined);
    this.health = new HealthProbe(`127.0.0.1:${String(port)}`, HEALTH_MS);
    this.work = Promise.all([...Array.from({ length: WRITERS }, (_, number) => this.write(number)), this.probe()]);
  }

  put(key: string, value: Uint8Array): Promise<boolean> {
    return new Promise((resolve) => {
      const headers = { ":method": "POST", ":path": PUT, "content-type": "application/grpc", te: "trailers" };
      const stream = this.session.request(headers);
      stream
        .on("error", () => undefined)
        .on("close", () => {
          resolve(false);
        });
      stream.on("trailers", (trailers: IncomingHttpHeaders) => {
        resolve(trailers["grpc-status"] === "0");
      });
      stream.resume().end(framed(request(key, value)));
    });
  }

  /** Returns the 99th percentile of the time of a write since the last call, in milliseconds. */
  p99(): number {
    const times = this.times.splice(0).sort((a, b) => a - b);
    return times[Math.floor(times.length * 0.99)] ?? Infinity;
  }

  async end(): Promise<void> {
    this.isEnding = true;
    await this.work;
    this.health.close();
    this.session.destroy();
  }

  private async write(number: number): Promise<void> {
    while (!this.isEnding) {
      const startedAt = performance.now();
      if (await this.put(`witness ${String(number)}`, Buffer.alloc(100)))
        this.times.push(performance.now() - startedAt);
      else this.failures += 1;
      await sleep(PAUSE_MS);
    }
  }

  private async probe(): Promise<void> {
    while (!this.isEnding) {
      if (!(await this.health.isServing())) this.unanswered += 1;
      await sleep(250);
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startEtcd(folder: string, port: number): Promise<ChildProcess> {
  const [client, peer] = [port, await freePort()].map((each) => `http://127.0.0.1:${String(each)}`);
  const urls = ["--listen-client-urls", client, "--advertise-client-urls", client];
  const peers = [
    "--listen-peer-urls",
    peer,
    "--initial-advertise-peer-urls",
    peer,
    "--initial-cluster",
    `default=${String(peer)}`,
  ];
  const etcd = spawn("etcd", ["--data-dir", join(folder, "data"), ...urls, ...peers] as string[], { stdio: "ignore" });
  const probe = new HealthProbe(`127.0.0.1:${String(port)}`, 1000);
  for (let tries = 0; !(await probe.isServing()); tries += 1) {
    if (tries > 100) throw new Error("etcd does not serve");
    await sleep(100);
  }
  probe.close();
  return etcd;
}

const mebibytes = (bytes: number): string => `${String(Math.round(bytes / MEBIBYTE))} MiB`;

/** Plays a scene against a new server, because some scenes end it. */
async function play(scene: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "etcd-"));
  const port = await freePort();
  const etcd = await startEtcd(folder, port);
  const client = new HealthyClient(port);
  try {
    if (!(await client.put(LARGE_KEY, Buffer.alloc(VALUE_BYTES)))) throw new Error("etcd refused the large value");
    const where = { host: "127.0.0.1", port };
    const target: Target = {
      open: where,
      tcp: where,
      methods: { commit: PUT, load: RANGE, loadOne: RANGE, check: CHECK, watch: "/etcdserverpb.Watch/Watch" },
      largest: LARGEST,
      loadLarge: request(LARGE_KEY).toString("base64"),
      loadOne: request(LARGE_KEY).toString("base64"),
      watch: Buffer.from(field(1, request("witness 0"))).toString("base64"),
    };
    client.p99();
    await sleep(QUIET_MS);
    const quiet = client.p99();
    const memory = new MemoryWatch(etcd.pid ?? 0);
    const idle = memory.now();
    const attacker = new Attacker(scene, target);
    const calls = await attacker.hold();
    await sleep(HOLD_MS);
    await attacker.end();
    const p99 = client.p99();
    const { peak } = memory;
    await sleep(RECOVERY_MS);
    const kept = memory.now() - idle;
    memory.stop();
    const ended = etcd.exitCode ?? etcd.signalCode;
    return (
      `${scene}: ${calls.toLocaleString("en")} calls; at most ${mebibytes(peak - idle)} above idle, ${mebibytes(kept)} after ` +
      `${String(RECOVERY_MS / 1000)} s; p99 ${p99.toFixed(1)} ms, ${(p99 / quiet).toFixed(1)} times that of quiet; ` +
      `${String(client.failures)} writes failed, ${String(client.unanswered)} health checks without a response` +
      (ended === null ? "" : `; the server ended: ${String(ended)}`)
    );
  } finally {
    etcd.kill("SIGKILL");
    await client.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  if (spawnSync("etcd", ["--version"]).error) {
    console.error("the program etcd is not installed; nothing was run");
    process.exitCode = 3;
    return;
  }
  for (const scene of Object.keys(SCENES)) if (!OTHER_SCENES.includes(scene)) console.log(await play(scene));
}

if (require.main === module) void main();
