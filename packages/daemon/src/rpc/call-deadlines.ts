import type { Http2Server, IncomingHttpHeaders } from "node:http2";
import type { Server } from "@grpc/grpc-js";

const TIMEOUT_HEADER = "grpc-timeout";
/** A number of hours that grpc-js and Node's timers can hold: 24 days. */
const LONGEST_HOURS = 24 * 24;
const HOUR_MS = 60 * 60 * 1000;

/** The milliseconds of each unit of the header. */
const UNITS: Readonly<Record<string, number>> = { H: HOUR_MS, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** The private part of a grpc-js server that has the HTTP/2 server of each of its connection injectors. */
interface ServerInternals {
  readonly http2Servers?: ReadonlyMap<Http2Server, unknown>;
}

/** The servers whose calls are limited already. */
const limited = new WeakSet<Http2Server>();

/**
 * Lowers the time limit of calls above 24 days to 24 days. grpc-js 1.14 makes the limit a whole number of 32 bits: a limit of 24.9 to
 * 49.7 days lies in the past then, and the call ends as DEADLINE_EXCEEDED although its change is applied. grpc-js has no option for
 * this and reads the header before any interceptor. Call this after `createConnectionInjector`. Returns how many HTTP/2 servers
 * were found: none with a version of grpc-js that keeps them elsewhere, and a test fails then.
 */
export function limitDeadlines(server: Server): number {
  const servers = (server as unknown as ServerInternals).http2Servers?.keys() ?? [];
  let found = 0;
  for (const http2Server of servers) {
    found += 1;
    if (limited.has(http2Server)) continue;
    limited.add(http2Server);
    http2Server.prependListener("stream", (_stream: unknown, headers: IncomingHttpHeaders) => {
      const timeout = headers[TIMEOUT_HEADER];
      if (typeof timeout === "string" && isTooLong(timeout)) headers[TIMEOUT_HEADER] = `${String(LONGEST_HOURS)}H`;
    });
  }
  return found;
}

function isTooLong(timeout: string): boolean {
  const [, amount, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(timeout) ?? [];
  return amount !== undefined && Number(amount) * (UNITS[unit] ?? 0) > LONGEST_HOURS * HOUR_MS;
}
