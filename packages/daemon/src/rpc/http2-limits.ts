import type { Http2Server, IncomingHttpHeaders } from "node:http2";
import type { Server } from "@grpc/grpc-js";

/*
 * Limits of requests for which grpc-js 1.14 has no option. They are set at its HTTP/2 servers, which it creates with a connection
 * injector: call these functions after `createConnectionInjector`. Both return how many servers were found.
 */

/** The private part of a grpc-js server that has the HTTP/2 server of each of its connection injectors. */
interface ServerInternals {
  readonly http2Servers?: ReadonlyMap<Http2Server, unknown>;
}

/** The list is empty with a version of grpc-js that keeps the servers elsewhere, and tests fail then. */
export const http2ServersOf = (server: Server): readonly Http2Server[] => [
  ...((server as unknown as ServerInternals).http2Servers?.keys() ?? []),
];

/** The largest total size of the headers of a request, as HTTP/2 counts it: names, values, and 32 bytes for each header. */
export const MAX_HEADER_BYTES = 16 * 1024;

/**
 * Limits the headers of a request. A client learns the limit when it connects, and most gRPC libraries then refuse a larger request
 * themselves. Otherwise Node ends that request alone, with ENHANCE_YOUR_CALM, which gRPC reports as RESOURCE_EXHAUSTED.
 *
 * Without the limit, the first headers that are refused are those that nghttp2, the HTTP/2 library of Node, cannot read: one of more than
 * 64 KiB in its compressed form, or more than 8 CONTINUATION frames. Both end the whole connection (GOAWAY) with all calls on it, because
 * the compression has a state that later headers need. Neither limit can be set from Node.
 */
export function limitHeaders(server: Server): number {
  const servers = http2ServersOf(server);
  for (const http2Server of servers) http2Server.updateSettings({ maxHeaderListSize: MAX_HEADER_BYTES });
  return servers.length;
}

const TIMEOUT_HEADER = "grpc-timeout";
/** A number of hours that grpc-js and Node's timers can hold: 24 days. */
const LONGEST_HOURS = 24 * 24;
const HOUR_MS = 60 * 60 * 1000;

/** The milliseconds of each unit of the header. */
const UNITS: Readonly<Record<string, number>> = { H: HOUR_MS, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** The form of the header in the protocol of gRPC. */
const TIMEOUT_FORM = /^(\d{1,8})([HMSmun])$/;

/** A value that grpc-js refuses, as INTERNAL with the value in the text. That is the status of other servers, too. */
const MALFORMED = "malformed: at most eight digits and then one of H, M, S, m, u and n are expected";

/** The servers whose calls are limited already. */
const limited = new WeakSet<Http2Server>();

/**
 * Lowers the time limit of calls above 24 days to 24 days. grpc-js 1.14 makes the limit a whole number of 32 bits: a limit of 24.9 to
 * 49.7 days lies in the past then, and the call ends as DEADLINE_EXCEEDED although its change is applied. grpc-js reads the header
 * before any interceptor.
 *
 * Refuses a header of another form. grpc-js searches digits and a unit anywhere in it: it takes "-1S" for a second, and "1e9S" for nine.
 */
export function limitDeadlines(server: Server): number {
  const servers = http2ServersOf(server);
  for (const http2Server of servers) {
    if (limited.has(http2Server)) continue;
    limited.add(http2Server);
    http2Server.prependListener("stream", (_stream: unknown, headers: IncomingHttpHeaders) => {
      const timeout = headers[TIMEOUT_HEADER];
      if (typeof timeout !== "string") return;
      if (!TIMEOUT_FORM.test(timeout)) headers[TIMEOUT_HEADER] = MALFORMED;
      else if (isTooLong(timeout)) headers[TIMEOUT_HEADER] = `${String(LONGEST_HOURS)}H`;
    });
  }
  return servers.length;
}

function isTooLong(timeout: string): boolean {
  const [, amount, unit = ""] = TIMEOUT_FORM.exec(timeout) ?? [];
  return amount !== undefined && Number(amount) * (UNITS[unit] ?? 0) > LONGEST_HOURS * HOUR_MS;
}
