import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type CallFigures, IncorrectResponseError, percentile } from "./loops.js";

/** Calls of one method, each with its own message, which is already encoded. */
export interface GhzLoad {
  readonly target: string;
  /** The file that declares the method, and the root folder of its imports. */
  readonly proto: string;
  readonly imports: string;
  /** Such as `package.Service/Method`. */
  readonly method: string;
  readonly callers: number;
  readonly messages: readonly Uint8Array[];
}

/** The used part of ghz's output (https://ghz.sh/docs/output). */
interface GhzReport {
  readonly statusCodeDistribution: Readonly<Record<string, number>>;
  readonly errorDistribution: Readonly<Record<string, number>>;
  readonly details: readonly { readonly timestamp: string; readonly latency: number }[];
}

/** Callers that share a connection, as the threads of one program do. */
const CALLERS_A_CONNECTION = 8;
/** The share of calls at the beginning that do not count, because connections are new. */
const WARM_UP = 0.2;

/** Runs ghz against a gRPC server, so that no Node client limits the load. `ghz` is the path of the program. */
export async function runGhz(
  ghz: string,
  load: GhzLoad,
  folder: string,
  serverCpuMs: () => number,
  signal: AbortSignal,
): Promise<CallFigures> {
  const data = join(folder, "messages.bin");
  const out = join(folder, "ghz.json");
  writeFileSync(data, Buffer.concat(load.messages.map((bytes) => delimited(bytes))));
  const connections = Math.ceil(load.callers / CALLERS_A_CONNECTION);
  const cpuBefore = serverCpuMs();
  await promisify(execFile)(
    ghz,
    [
      ["--insecure", "--authority", "localhost", "--disable-template-functions", "--disable-template-data"],
      ["--proto", load.proto, "--import-paths", load.imports, "--call", load.method],
      ["--concurrency", String(load.callers), "--connections", String(connections)],
      ["--total", String(load.messages.length), "--binary-file", data, "--format", "json", "--output", out],
      [load.target],
    ].flat(),
    { signal },
  );
  const serverCpuUs = ((serverCpuMs() - cpuBefore) * 1000) / load.messages.length;
  const report = JSON.parse(readFileSync(out, "utf8")) as GhzReport;
  if (report.statusCodeDistribution.OK !== load.messages.length) {
    throw new IncorrectResponseError(`${load.method} was refused: ${JSON.stringify(report.errorDistribution)}`);
  }
  return { ...measuredOf(report), serverCpuUs, clientCpuUs: Number.NaN };
}

/** Returns rate and latencies of the calls after the warm-up. */
function measuredOf({ details }: GhzReport): Pick<CallFigures, "rate" | "p50Ms" | "p99Ms"> {
  const calls = details
    .map(({ timestamp, latency }) => ({ startMs: instantMs(timestamp), ms: latency / 1e6 }))
    .sort((a, b) => a.startMs - b.startMs);
  const counted = calls.slice(Math.floor(calls.length * WARM_UP));
  const from = counted[0]?.startMs ?? Number.NaN;
  const until = Math.max(...counted.map(({ startMs, ms }) => startMs + ms));
  const latencies = counted.map(({ ms }) => ms);
  return {
    rate: (counted.length * 1000) / (until - from),
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
  };
}

/** Parses an RFC 3339 text with nanoseconds, which `Date` would drop. */
function instantMs(text: string): number {
  const [, seconds = "", fraction = ""] = /^(.*?)(\.\d+)?Z$/.exec(text) ?? [];
  return Date.parse(`${seconds}Z`) + Number(`0${fraction}`) * 1000;
}

function delimited(message: Uint8Array): Buffer {
  const length: number[] = [];
  let rest = message.length;
  for (; rest > 0x7f; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.of(...length, rest), message]);
}
