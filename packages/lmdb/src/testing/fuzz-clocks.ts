import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MemoryStorage, fuzzClocks } from "@bolthole/core/testing";
import { LmdbStorage } from "./lmdb-storage.js";

/**
 * The program that `pnpm fuzz:clocks --minutes 10 [--engine memory] [--seed N]` runs. It simulates stores and callers whose clocks
 * jump, and prints the seed and the step of the first response that contradicts the model.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { minutes: { type: "string" }, seed: { type: "string" }, engine: { type: "string" } },
  });
  const seed = Number(values.seed ?? Date.now() % 0x7fffffff);
  const minutes = Number(values.minutes ?? "1");
  const report = (text: string): void => {
    console.log(text);
  };
  report(`seed ${String(seed)}`);
  if (values.engine === "memory") {
    const createStorage = () => Promise.resolve(new MemoryStorage());
    await fuzzClocks({ seed, minutes, rareSteps: 40, createStorage, report });
    return;
  }
  let folder: string | undefined;
  let storage: LmdbStorage | undefined;
  const remove = async (): Promise<void> => {
    await storage?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  };
  const createStorage = async (): Promise<LmdbStorage> => {
    await remove();
    folder = mkdtempSync(join(tmpdir(), "bolthole-clocks-"));
    return (storage = new LmdbStorage(folder));
  };
  try {
    await fuzzClocks({ seed, minutes, rareSteps: 100, createStorage, report });
  } finally {
    await remove();
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
