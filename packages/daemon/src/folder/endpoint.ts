import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { hash } from "node:crypto";

const FILE = "endpoint";
const SOCKET = "bolthole.sock";
/** The kernel's limit is 107 bytes on Linux and 103 on macOS. */
const MAX_SOCKET_PATH = 100;

/** Where the socket lies: in the data folder, or, when that path is too long, in a folder that only this user can enter. */
export function socketPath(folder: string): string {
  const path = join(folder, SOCKET);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return path;
  const runtime = process.env.XDG_RUNTIME_DIR;
  const parent = runtime ? join(runtime, "bolthole") : join(tmpdir(), `bolthole-${String(userInfo().uid)}`);
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  return join(parent, `${hash("sha256", folder).slice(0, 16)}.sock`);
}

/** Tells scripts where the daemon listens: one target a line, the socket first. */
export function writeEndpoint(folder: string, targets: readonly string[]): void {
  const path = join(folder, FILE);
  const draft = `${path}.new`;
  writeFileSync(draft, targets.map((target) => `${target}\n`).join(""), { mode: 0o600 });
  renameSync(draft, path);
}

/** The targets of the daemon that serves this folder, or none. */
export function readEndpoint(folder: string): string[] {
  try {
    return readFileSync(join(folder, FILE), "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

export const removeEndpoint = (folder: string): void => {
  rmSync(join(folder, FILE), { force: true });
};
