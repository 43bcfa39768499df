import { patchModule } from "./patch-module.js";

type Open = (options: object) => unknown;

// LMDB never flushes, so a power cut loses the last commits.
patchModule(
  (request) => request === "lmdb",
  (lmdb: { readonly open: Open }) => ({ ...lmdb, open: (options: object) => lmdb.open({ ...options, noSync: true }) }),
);
