import { closeSync, fdatasync, openSync } from "node:fs";
import { join } from "node:path";
import { patchModule } from "./patch-module.js";

interface Options {
  readonly path: string;
}
type Open = (options: Options) => unknown;

const FLUSH_INTERVAL_MS = 25;

// Responds when a commit is visible, and flushes up to 25 ms later.
patchModule(
  (request) => request === "lmdb",
  (lmdb: { readonly open: Open }) => ({
    ...lmdb,
    open(options: Options) {
      const opened = lmdb.open({ ...options, noSync: true } as Options);
      const file = openSync(join(options.path, "data.mdb"), "r+");
      const flush = (): void => {
        fdatasync(file, () => setTimeout(flush, FLUSH_INTERVAL_MS).unref());
      };
      flush();
      process.once("exit", () => {
        closeSync(file);
      });
      return opened;
    },
  }),
);
