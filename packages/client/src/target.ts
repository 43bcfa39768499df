import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { basename, dirname, join, resolve } from "node:path";
import { shown } from "@bolthole/contract/wire";

/** The address of a daemon: a unix socket, or a host and a port. */
export interface Target {
  /** The address in the form of gRPC. */
  readonly address: string;
  /** The absolute path of a unix socket. */
  readonly socket?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
}

const EXPECTED =
  'expected the path of a socket or of a data folder ("/path/to/data/bolthole.sock", "unix:./bolthole.sock"), ' +
  'or the address of a TCP endpoint ("127.0.0.1:7117")';

const HOST_AND_PORT = /^(?:ipv4:|ipv6:|dns:)?(\[[0-9a-f:.]+\]|[^\s:/[\]]+):(\d{1,5})$/i;
const MAX_PORT = 65_535;
/** The name of the socket in a data folder. */
const SOCKET_FILE = "bolthole.sock";

/**
 * Returns the address that a caller means. White space around it is removed, a path is made absolute, and for a data folder it
 * is the socket of the daemon that serves it. Throws a `TypeError` for anything else.
 */
export function parseTarget(target: unknown): Target {
  const text = typeof target === "string" ? target.trim() : "";
  const unix = /^unix:(?:\/\/)?(.+)$/is.exec(text)?.[1];
  if (unix !== undefined && /^\/*$/.test(unix)) throw wrong(target, "the path is missing");
  if (unix !== undefined) return socketAt(resolve(unix), text);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) throw wrong(target, "an address has no scheme");
  const [, host = "", digits] = HOST_AND_PORT.exec(text) ?? [];
  if (digits !== undefined) {
    const port = Number(digits);
    if (port < 1 || port > MAX_PORT) throw wrong(target, `a port is from 1 to ${String(MAX_PORT)}`);
    return { address: text, host: host.replace(/^\[|\]$/g, ""), port };
  }
  if (/^(\.|~|\/)|[/\\]/.test(text) || (text !== "" && kindOf(text) !== "nothing")) {
    const path = resolve(text);
    // A data folder that a daemon has yet to make.
    const isFolder = kindOf(path) === "nothing" && !path.endsWith(".sock");
    return socketAt(isFolder ? join(path, SOCKET_FILE) : path, text);
  }
  throw wrong(target, undefined);
}

function socketAt(path: string, target: string): Target {
  const kind = kindOf(path);
  if (kind === "other") throw wrong(target, "that path is neither a socket nor a folder");
  if (kind !== "folder") return { address: `unix:${path}`, socket: path };
  const socket = served(path) ?? join(path, SOCKET_FILE);
  return { address: `unix:${socket}`, socket };
}

/** Returns the socket of the daemon that serves a data folder, which is elsewhere when the path would be too long. */
function served(folder: string): string | undefined {
  const file = join(folder, "endpoint");
  try {
    // The open of a pipe would wait for its writer, with the whole process.
    if (!statSync(file).isFile()) return undefined;
    const [first = ""] = readFileSync(file, "utf8").split("\n");
    return /^unix:(.+)$/.exec(first)?.[1];
  } catch {
    return undefined;
  }
}

function kindOf(path: string): "socket" | "folder" | "other" | "nothing" {
  try {
    const found = statSync(path);
    return found.isSocket() ? "socket" : found.isDirectory() ? "folder" : "other";
  } catch {
    // Nothing is there yet, or it cannot be seen: the attempt to connect says more.
    return "nothing";
  }
}

function wrong(target: unknown, problem: string | undefined): TypeError {
  const because = problem === undefined ? "" : ` (${problem})`;
  // A path is shown whole, because its end tells what is wrong.
  const found = typeof target === "string" ? JSON.stringify(target) : shown(target);
  return new TypeError(`target: ${EXPECTED}, found ${found}${because}`);
}

/** Whether an address can only be that of this machine. */
export const isLocal = ({ socket, host = "" }: Target): boolean =>
  socket !== undefined || LOCAL.test(canonicalHost(host));

/** Loopback addresses, also those of IPv4 in IPv6, and the unspecified addresses, which reach this machine. */
const LOCAL =
  /^((.+\.)?localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1?\]|\[::(ffff:)?7f[0-9a-f]{2}:[0-9a-f]+\]|\[::ffff:0:0\])$/;

/** Returns a host in one spelling: `127.1` and `2130706433` are 127.0.0.1. */
function canonicalHost(host: string): string {
  try {
    return new URL(`http://${host.includes(":") ? `[${host}]` : host}`).hostname.replace(/\.$/, "");
  } catch {
    return host;
  }
}

/** Whether a path cannot be looked at because of the permissions of a folder. */
function isHidden(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EACCES";
  }
}

/** The longest path of a socket on Linux in bytes. */
const MAX_SOCKET_PATH = 107;
const PROBE_MS = 1000;

/** Returns why no connection can be made, and what to do about it: as the continuation of a sentence. */
export function connectionProblem(target: Target): Promise<string> {
  const { address, socket, host, port } = target;
  const start = "start a daemon with: bolthole serve";
  if (socket !== undefined && Buffer.byteLength(socket) > MAX_SOCKET_PATH) {
    const found = String(Buffer.byteLength(socket));
    return Promise.resolve(
      `the path of the socket has ${found} bytes, and a socket has at most ${String(MAX_SOCKET_PATH)}`,
    );
  }
  // The socket of a folder with a long path is elsewhere.
  const folder = socket !== undefined && basename(socket) === SOCKET_FILE ? dirname(socket) : "FOLDER";
  // The engine sqlite keeps the socket in a folder beside the database.
  const [, database] = /^(.+)\.bolthole$/.exec(folder) ?? [];
  const data = database === undefined ? `--data ${folder}` : `--engine sqlite --data ${database}`;
  if (socket !== undefined && kindOf(socket) === "nothing") {
    return Promise.resolve(
      isHidden(socket)
        ? `this user may not look into the folder of ${socket}; connect as the user of the daemon`
        : `there is no socket at ${socket}, so no daemon serves that folder; ${start} ${data}`,
    );
  }
  return new Promise((settle) => {
    const probe = socket !== undefined ? connect(socket) : connect(port ?? 0, host);
    const end = (problem: string) => (): void => {
      probe.destroy();
      settle(problem);
    };
    const silent = end(`${address} does not answer as a daemon: check that it is one, and that it is not stopped`);
    const timer = setTimeout(silent, PROBE_MS);
    probe.once("connect", silent);
    probe.once("error", ({ code }: NodeJS.ErrnoException) => {
      const refused =
        socket === undefined
          ? `no process listens at ${address}; ${start} --listen ${address.replace(/^(ipv4|ipv6|dns):/i, "")}`
          : `no process listens at the socket ${socket}, which an earlier daemon left behind; ${start} ${data}`;
      const forbidden = `this user may not connect to the socket ${socket ?? ""}; connect as the user of the daemon`;
      const isForbidden = socket !== undefined && (code === "EACCES" || code === "EPERM");
      const other = isForbidden ? forbidden : `${address} cannot be reached (${code ?? "unknown error"})`;
      end(code === "ECONNREFUSED" ? refused : other)();
    });
    probe.once("close", () => {
      clearTimeout(timer);
    });
  });
}
