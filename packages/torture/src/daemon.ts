import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Health, HealthCheckResponse_ServingStatus, grpcMethod } from "@bolthole/contract/wire";
import { Client, credentials } from "@grpc/grpc-js";

/** The script of the command `bolthole`. */
export const DAEMON = require.resolve("@bolthole/daemon/bin");

const HEALTH_MS = 1000;

/** Calls the health service of a daemon. */
export class HealthProbe {
  private readonly client: Client;

  constructor(
    target: string,
    private readonly limitMs = HEALTH_MS,
  ) {
    this.client = new Client(target, credentials.createInsecure(), {
      "grpc.default_authority": "localhost",
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 100,
    });
  }

  /** Whether the daemon reports SERVING. No response within the time limit counts as not serving. */
  isServing(): Promise<boolean> {
    const { path, requestSerialize, responseDeserialize } = grpcMethod(Health.method.check);
    return new Promise((resolve) => {
      const deadline = Date.now() + this.limitMs;
      this.client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        {},
        { deadline },
        (_error, response) => {
          resolve(response?.status === HealthCheckResponse_ServingStatus.SERVING);
        },
      );
    });
  }

  close(): void {
    this.client.close();
  }
}

const PASS_MS = 60_000;
const SETTLED_MS = 60_000;
const POLL_MS = 200;

/** The result of a scrub pass, as `bolthole status --json` prints it. */
interface ScrubPass {
  readonly findingCount: number;
  readonly findings: readonly { readonly code: string; readonly runtimeId?: string; readonly text: string }[];
}

/** Waits for the end of a scrub pass that began after this call. */
export async function nextPass(data: string): Promise<ScrubPass> {
  const { passes } = (await statusOf(data)).scrub;
  for (const limit = Date.now() + PASS_MS; Date.now() < limit;) {
    await sleep(POLL_MS);
    const { scrub } = await statusOf(data);
    if (scrub.last && Number(scrub.passes) >= Number(passes) + 2) {
      return { ...scrub.last, findingCount: Number(scrub.last.findingCount) };
    }
  }
  throw new Error(`no scrub pass ended within ${String(PASS_MS)} ms`);
}

interface ScrubJson {
  readonly passes: string;
  readonly last?: { readonly findingCount: string; readonly findings: ScrubPass["findings"] };
}

interface StatusJson {
  readonly requestsInFlight: number;
  readonly scrub: ScrubJson;
}

async function statusOf(data: string): Promise<StatusJson> {
  const { stdout } = await promisify(execFile)(process.execPath, [DAEMON, "status", "--data", data, "--json"]);
  return JSON.parse(stdout) as StatusJson;
}

/** Returns the number of requests that the daemon still works on after it had a minute to finish them. */
export async function requestsInFlight(data: string): Promise<number> {
  const limit = Date.now() + SETTLED_MS;
  for (;;) {
    // The status request itself is one of them.
    const inFlight = (await statusOf(data)).requestsInFlight - 1;
    if (inFlight <= 0 || Date.now() > limit) return inFlight;
    await sleep(POLL_MS);
  }
}

const MEMORY_INTERVAL_MS = 100;

/** Measures the anonymous memory of a process. Pages of mapped files do not count, because the system can drop them. */
export class MemoryWatch {
  /** The highest value so far, in bytes. */
  peak = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly pid: number) {
    this.timer = setInterval(() => {
      this.now();
    }, MEMORY_INTERVAL_MS);
  }

  static isPossible(): boolean {
    return existsSync("/proc/self/status");
  }

  /** Returns the present value in bytes; 0 when the process has ended. */
  now(): number {
    let status: string;
    try {
      status = readFileSync(`/proc/${String(this.pid)}/status`, "utf8");
    } catch {
      return 0;
    }
    const held = Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
    this.peak = Math.max(this.peak, held);
    return held;
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
