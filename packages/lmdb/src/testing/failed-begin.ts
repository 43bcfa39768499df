import { closeSync, fstatSync, openSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Environment } from "../environment.js";

/*
 * A process of its own, because lmdb-js rejects promises that it does not return. It breaks LMDB so that it begins no write
 * transaction any more, and prints what becomes of two writes and of closing.
 */

const O_DSYNC = 0o10000;

/** Makes every write of a meta page fail: a file that cannot be written takes the place of LMDB's own. */
function breakMetaPages(folder: string): void {
  const data = fstatSync(openSync(join(folder, "data.mdb"), "r")).ino;
  const meta = readdirSync("/proc/self/fd")
    .map(Number)
    .find((file) => {
      try {
        const facts = readFileSync(`/proc/self/fdinfo/${String(file)}`, "utf8");
        const flags = Number.parseInt(/^flags:\s+(\d+)$/m.exec(facts)?.[1] ?? "", 8);
        return fstatSync(file).ino === data && (flags & O_DSYNC) !== 0;
      } catch {
        // The folder of the list was open only while it was read.
        return false;
      }
    });
  if (meta === undefined) throw new Error("LMDB has no file of its own for meta pages");
  closeSync(meta);
  while (openSync("/dev/null", "r") < meta);
}

async function main(folder: string): Promise<void> {
  process.on("unhandledRejection", () => undefined);
  const environment = new Environment(folder);
  const write = (value: string): Promise<void> => environment.write([[Buffer.from("key"), Buffer.from(value)]]);
  await write("first");
  breakMetaPages(folder);
  for (const value of ["second", "third"]) {
    const end = await write(value).then(() => "written", String);
    process.stdout.write(`${value}: ${end}\n`);
  }
  await environment.close();
  process.stdout.write("closed\n");
  // The usual end of a process would wait for the native library, which never releases its lock.
  process.exit(0);
}

if (require.main === module) void main(process.argv[2] ?? "");
