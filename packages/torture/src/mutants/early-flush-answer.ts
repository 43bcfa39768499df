import { patchModule } from "./patch-module.js";

type Open = (options: object) => unknown;

const WEAK = { overlappingSync: true, separateFlushed: true };

// Answers when a commit is visible; the flush comes when it comes.
patchModule(
  (request) => request === "lmdb",
  (lmdb: { readonly open: Open }) => ({ ...lmdb, open: (options: object) => lmdb.open({ ...options, ...WEAK }) }),
);
