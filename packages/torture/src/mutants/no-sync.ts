import { patchModule } from "./patch-module.js";

type Open = (options: object) => unknown;

// LMDB never flushes: everything is there until the power goes.
patchModule(
  (request) => request === "lmdb",
  (lmdb: { readonly open: Open }) => ({ ...lmdb, open: (options: object) => lmdb.open({ ...options, noSync: true }) }),
);
