/** Daemons that break a promise on purpose: each name is a script in `mutants`. */
export const CONTROLS: Readonly<Record<string, { readonly kind: string; readonly description: string }>> = {
  "no-sync": { kind: "power", description: "LMDB never flushes" },
  "early-flush-answer": { kind: "power", description: "answers when a commit is visible, and flushes a moment later" },
  "early-answer": { kind: "kill", description: "answers before the commit is given to the operating system" },
  "forgotten-request-id": { kind: "kill", description: "keeps no outcome of one request in four" },
  "double-apply": { kind: "kill", description: "does not look for the outcome of a repeated request" },
  "torn-operation": { kind: "kill", description: "writes a group in two transactions" },
  "goes-on": { kind: "io", description: "goes on with the same environment after a failed write" },
  "unheard-failure": { kind: "io", description: "answers as if a failed write had been done" },
  "no-look-for-room": { kind: "full", description: "gives to LMDB what the disk may have no room for" },
  "dropped-row": { kind: "kill", description: "leaves out one record of one operation in fifty" },
  "forgotten-fence": { kind: "pause", description: "does not look at fence tokens" },
  "thrown-request": { kind: "fuzz", description: "lets gRPC answer for requests that are no messages" },
  "lost-update": { kind: "linear", description: "decides one change in three over what was stored before its turn" },
  "stale-read": { kind: "linear", description: "shows one reader in eight what was stored up to 100 ms ago" },
};
