import { type Stats, lstatSync, readFileSync, readlinkSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";

const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;
const ROOT = 0;

/** As many as the kernel follows. */
const MAX_LINKS = 40;

/**
 * Returns why another user can replace a folder, or one of the folders and links that lead to it: as a clause whose subject is a path.
 * Returns undefined when only this user and root can. What is missing is not looked at: this process creates it, in a folder that was
 * looked at.
 *
 * Links are not followed by the system but here, one by one, because the owner of a link can lead it elsewhere at any time. A folder that
 * others may write must be sticky (such as /tmp): then only the owner of an entry can rename or remove it, and each entry must belong to
 * this user or to root.
 */
export function foreignControl(path: string, owners = trustedOwners()): string | undefined {
  let steps = namesOf(resolve(path));
  let at = "/";
  let links = 0;
  for (let name = steps.shift(); name !== undefined; name = steps.shift()) {
    // `join` resolves "..", which is right here: `at` has no links.
    const next = join(at, name);
    const found = lstatSync(next, { throwIfNoEntry: false });
    if (!found) return undefined;
    if (!owners.includes(found.uid)) return `${next} belongs to another user (${String(found.uid)})`;
    if (found.isSymbolicLink()) {
      links += 1;
      if (links > MAX_LINKS) return `${next} is one of more than ${String(MAX_LINKS)} links`;
      const target = readlinkSync(next);
      steps = [...namesOf(target), ...steps];
      if (isAbsolute(target)) at = "/";
      continue;
    }
    if (!found.isDirectory()) return `${next} is not a folder`;
    if (isOpenToOthers(found)) return `${next} can be written by other users (mode ${modeText(found)})`;
    at = next;
  }
  return undefined;
}

/**
 * Returns why a folder at the end of a trusted path is not private to this user, or undefined when it is: a folder and no link, owned by this user,
 * in which nobody else can create files. A sticky folder is not private: another user can take a name in it before this one does.
 */
export function foreignFolder(path: string): string | undefined {
  const found = lstatSync(path);
  const user = process.getuid?.();
  if (found.isSymbolicLink()) return `${path} is a link`;
  if (!found.isDirectory()) return `${path} is not a folder`;
  if (user !== undefined && found.uid !== user) {
    return `${path} belongs to another user (${String(found.uid)}, expected ${String(user)})`;
  }
  if ((found.mode & OTHERS_MAY_WRITE) !== 0) {
    return `${path} can be written by other users (mode ${modeText(found)})`;
  }
  return undefined;
}

const namesOf = (path: string): string[] => path.split("/").filter((name) => name !== "" && name !== ".");

const isOpenToOthers = ({ mode }: Stats): boolean => (mode & OTHERS_MAY_WRITE) !== 0 && (mode & STICKY) === 0;

const modeText = ({ mode }: Stats): string => (mode & 0o7777).toString(8);

/** This user and root. In a user namespace also the owner of all files whose real owner has no number there, such as root of the host. */
function trustedOwners(): readonly number[] {
  const user = process.getuid?.() ?? ROOT;
  try {
    const isWhole = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map", "utf8"));
    if (isWhole) return [user, ROOT];
    return [user, ROOT, Number(readFileSync("/proc/sys/kernel/overflowuid", "utf8"))];
  } catch {
    // A system without user namespaces.
    return [user, ROOT];
  }
}
