import { hash } from "node:crypto";
import { type BigIntStats, chmodSync, lstatSync, renameSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { EXIT, StartupError } from "../exit-code.js";
import { isSameFile, lookUp } from "./file-identity.js";
import { makeFolder, refuseSharedFolder } from "./data-folder.js";
import { foreignControl, foreignFolder } from "./trusted-path.js";

const SOCKET_FILE = "bolthole.sock";

/** The end of the name of a socket that is not in its place yet. It is as long as the usual end, so that the paths are equally long. */
const BINDING = { from: /sock$/, to: "bind" } as const;

/** The longest path of a socket in the control folder. A longer one would be near the limit of the kernel. */
const MAX_OWN_PATH = 100;

/** The longest path of a socket that the kernel takes, in bytes. */
const MAX_SOCKET_PATH = process.platform === "linux" ? 107 : 103;

/** Errors of a connection that say that no process listens on a socket. */
const NOT_LISTENING: readonly (string | undefined)[] = ["ECONNREFUSED", "ENOENT"];

/**
 * The file of the unix socket on which a daemon listens.
 *
 * The socket is made under another name and then renamed. So it has its mode before anybody can connect, and it takes the place of a
 * socket that a crash left behind in one step. A server that is closed deletes the path that it was bound to, which is the other name:
 * the file itself is deleted here, and only when it is the one that this process made.
 */
export class SocketFile {
  private made: BigIntStats | undefined;

  private constructor(readonly path: string) {}

  /**
   * Selects the path: in the control folder, or, when that path is too long, in a folder that only this user can enter. Throws a
   * StartupError when both paths are too long, or when other users can write or replace the folder.
   */
  static in(controlFolder: string): SocketFile {
    const own = join(controlFolder, SOCKET_FILE);
    if (Buffer.byteLength(own) <= MAX_OWN_PATH) {
      refuseSharedFolder(controlFolder, "socket folder");
      return new SocketFile(own);
    }
    const runtime = process.env.XDG_RUNTIME_DIR;
    // Not `userInfo`, which throws for a user without an entry in the password database, as in many containers.
    const parent = runtime ? join(runtime, "bolthole") : join(tmpdir(), `bolthole-${String(process.getuid?.())}`);
    const path = join(parent, `${hash("sha256", controlFolder).slice(0, 16)}.sock`);
    refuseLongPath(path, own);
    prepareSocketFolder(parent);
    return new SocketFile(path);
  }

  /** The path to which a server is bound before `publish`. */
  get bindPath(): string {
    return this.path.replace(BINDING.from, BINDING.to);
  }

  /** Refuses a path at which another process listens, or at which there is no socket. Removes what a killed process was binding. */
  async prepare(): Promise<void> {
    // Without following a link, which could lead to the socket of another program.
    const found = lstatSync(this.path, { throwIfNoEntry: false });
    const user = process.getuid?.();
    if (found && user !== undefined && found.uid !== user) {
      throw new StartupError(
        EXIT.ADDRESS,
        `expected a socket of this user (${String(user)}) at ${this.path}, found a file of user ${String(found.uid)}; find out who made ` +
          "it, remove it, and start again",
      );
    }
    if (found && !found.isSocket()) {
      throw new StartupError(
        EXIT.ADDRESS,
        `expected a socket at ${this.path}, found another kind of file; move it away, and start again`,
      );
    }
    // This process has locked the folder, so the socket was left by a crash, or it belongs to another program and is not removed.
    if (found && (await isListening(this.path))) {
      throw new StartupError(EXIT.ADDRESS, `socket ${this.path} is in use by another process; stop that process`);
    }
    rmSync(this.bindPath, { force: true });
  }

  /** Creates the folder again when it was removed from the temporary folder. */
  prepareAgain(): void {
    prepareSocketFolder(dirname(this.path));
    rmSync(this.bindPath, { force: true });
  }

  /** Puts the socket that a server was bound to in its place, for this user only. */
  publish(): void {
    chmodSync(this.bindPath, 0o600);
    const made = statSync(this.bindPath, { bigint: true });
    renameSync(this.bindPath, this.path);
    this.made = made;
  }

  /** Returns whether the socket of this process is at its path, nothing is there, or something else. */
  state(): "ours" | "missing" | "foreign" {
    const found = lookUp(this.path);
    if (!found) return "missing";
    return this.made && isSameFile(found, this.made) ? "ours" : "foreign";
  }

  /** Removes the socket. What another process put at its path stays. */
  remove(): void {
    if (this.state() === "ours") rmSync(this.path, { force: true });
  }
}

function refuseLongPath(path: string, own: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH) return;
  throw new StartupError(
    EXIT.ADDRESS,
    `the path of the unix socket may have ${String(MAX_SOCKET_PATH)} bytes, but ${own} has ${String(Buffer.byteLength(own))} ` +
      `and ${path} has ${String(bytes)}; choose a data folder with a shorter path, or set XDG_RUNTIME_DIR to a shorter one`,
  );
}

/**
 * Makes the folder, unless it is there, and refuses one that another user made, can write or can replace: this user would create its
 * socket in the other's place, or clients would find the socket of the other there, and send it their secrets.
 */
function prepareSocketFolder(folder: string): void {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `the socket would be in the folder ${folder}, because the path of the data folder is long, but ${problem}; the store was not opened. ` +
        "Set XDG_RUNTIME_DIR to a folder that only this user can write, or choose a data folder with a shorter path",
      cause,
    );
  };
  // Before anything is created, and again when it is there: another user may have been faster.
  const above = foreignControl(folder);
  if (above !== undefined) refuse(above);
  try {
    makeFolder(folder);
  } catch (cause) {
    refuse(`it cannot be created (${String((cause as NodeJS.ErrnoException).code)})`, cause);
  }
  const problem = foreignControl(folder) ?? foreignFolder(folder);
  if (problem !== undefined) refuse(problem);
}

/** Returns whether a process listens on the socket, or may do so. */
const isListening = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", ({ code }: NodeJS.ErrnoException) => {
      resolve(!NOT_LISTENING.includes(code));
    });
  });
