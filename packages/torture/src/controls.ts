/** Daemons that break a promise on purpose: each name is a script in `mutants`. */
export const CONTROLS: Readonly<Record<string, { readonly kinds: readonly string[]; readonly description: string }>> = {
  "no-sync": { kinds: ["power"], description: "LMDB never flushes" },
  "early-flush-answer": {
    kinds: ["power"],
    description: "answers when a commit is visible, and flushes a moment later",
  },
  "early-answer": { kinds: ["kill"], description: "answers before the commit is given to the operating system" },
  "forgotten-request-id": { kinds: ["kill", "net"], description: "keeps no outcome of one request in four" },
  "double-apply": { kinds: ["kill", "net"], description: "does not look for the outcome of a repeated request" },
  "torn-operation": { kinds: ["kill"], description: "writes a group in two transactions" },
  "goes-on": { kinds: ["io"], description: "goes on with the same environment after a failed write" },
  "unheard-failure": { kinds: ["io"], description: "answers as if a failed write had been done" },
  "no-look-for-room": { kinds: ["full"], description: "gives to LMDB what the disk may have no room for" },
  "dropped-row": { kinds: ["kill"], description: "leaves out one record of one operation in fifty" },
  "forgotten-fence": { kinds: ["pause"], description: "does not look at fence tokens" },
  "thrown-request": { kinds: ["fuzz"], description: "lets gRPC answer for requests that are no messages" },
  "unchecked-bytes": { kinds: ["corrupt"], description: "serves rows and documents whatever their checksums say" },
  "lost-update": { kinds: ["linear"], description: "decides one change in three over what was stored before its turn" },
  "stale-read": { kinds: ["linear"], description: "shows one reader in eight what was stored up to 100 ms ago" },
};
