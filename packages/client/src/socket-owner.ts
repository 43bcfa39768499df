import { type Stats, lstatSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";

/*
 * The owner of a unix socket. Node cannot ask the kernel which user is at the other end of a connection (SO_PEERCRED), so the socket file
 * and its folder are looked at instead: only the owner of a folder, and root, decide which socket is in it.
 */

const EVERYONE_MAY_WRITE = 0o002;
const STICKY = 0o1000;
const ROOT = 0;

/**
 * Returns why a socket may be that of another user, and what to do, as the continuation of a sentence. Returns undefined when the socket
 * and its folder belong to this user, to root, or to `owner`, and when there is no socket.
 */
export function socketProblem(socket: string, owner?: number): string | undefined {
  const user = process.getuid?.();
  // A system without user ids.
  if (user === undefined) return undefined;
  const owners = owner === undefined ? [user, ROOT] : [user, ROOT, owner];
  for (const path of placesOf(socket)) {
    const found = lookUp(path);
    if (!found) return undefined;
    if (!owners.includes(found.uid)) {
      return (
        `${path} belongs to user ${String(found.uid)}, and not to this user (${String(user)}) or root, so another program may have taken ` +
        `the place of the daemon; if the daemon of that user is meant, name it with the option socketOwner: ${String(found.uid)}`
      );
    }
    if (found.isDirectory() && (found.mode & EVERYONE_MAY_WRITE) !== 0 && (found.mode & STICKY) === 0) {
      return `every user can replace the files in the folder ${path}, so another program may have taken the place of the daemon; run: chmod o-w ${path}`;
    }
  }
  return undefined;
}

/** Returns the socket and its folder, and where links lead from there. */
function placesOf(socket: string): readonly string[] {
  try {
    const real = realpathSync(socket);
    return [...new Set([dirname(socket), socket, dirname(real), real])];
  } catch {
    // Nothing is there, or it cannot be seen: the attempt to connect says more.
    return [];
  }
}

function lookUp(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}

/**
 * Returns credentials without encryption that refuse each connection to a socket of another user, after it is made and before anything
 * is sent. grpc-js connects again by itself, so it is not enough to look once.
 *
 * grpc-js 1.14 has no option for this. Its credentials make a "secure connector" for each connection, which is in its types with the mark
 * of an internal member; this is the only place that uses it.
 */
export function socketCredentials(socket: string, owner?: number): ChannelCredentials {
  const plain = credentials.createInsecure();
  const createConnector = plain._createSecureConnector.bind(plain);
  plain._createSecureConnector = (...args) => {
    const connector = createConnector(...args);
    return {
      ...connector,
      connect: (connection) => {
        const problem = socketProblem(socket, owner);
        return problem === undefined ? connector.connect(connection) : Promise.reject(new Error(problem));
      },
    };
  };
  // Channels with equal credentials share connections. Those to a socket of another user are not shared with clients that did not allow it.
  if (owner !== undefined) plain._equals = (other) => other === plain;
  return plain;
}
