import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Measured } from "../closed-loop.js";
import { percentile } from "../open-loop.js";
import { WrongAnswer } from "../wrong-answer.js";

/** Calls of one method, each with a message of its own, that were encoded before. */
export interface GhzLoad {
  readonly target: string;
  /** The file that declares the method, and the folder that its imports start from. */
  readonly proto: string;
  readonly imports: string;
  /** Such as `package.Service/Method`. */
  readonly method: string;
  readonly callers: number;
  readonly messages: readonly Uint8Array[];
}

/** Of what ghz writes: https://ghz.sh/docs/output. */
interface GhzReport {
  readonly statusCodeDistribution: Readonly<Record<string, number>>;
  readonly errorDistribution: Readonly<Record<string, number>>;
  readonly details: readonly { readonly timestamp: string; readonly latency: number }[];
}

/** Callers of one connection, as the threads of one program share theirs. */
const CALLERS_A_CONNECTION = 8;
/** Of all calls: those at the beginning, while connections are new, do not count. */
const WARM_UP = 0.2;

/** Drives any gRPC server without a Node client in the way. `ghz` is the path of the program. */
export async function runGhz(
  ghz: string,
  load: GhzLoad,
  folder: string,
  serverCpuMs: () => number,
  signal: AbortSignal,
): Promise<Measured> {
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
    throw new WrongAnswer(`${load.method} was refused: ${JSON.stringify(report.errorDistribution)}`);
  }
  return { ...measuredOf(report), serverCpuUs, clientCpuUs: Number.NaN };
}

/** Rate and latencies of the calls after the warm-up. */
function measuredOf({ details }: GhzReport): Pick<Measured, "rate" | "p50Ms" | "p99Ms"> {
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

/** Of an RFC 3339 text with nanoseconds, which `Date` would drop. */
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
