import { mkdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Engine } from "@bolthole/core";
import type { SimulatedStorage } from "@bolthole/core/testing";
import { LmdbEngine } from "../lmdb-engine.js";
import { restoreBackup } from "../maintenance/restore.js";

/** The storage of a simulated store in LMDB. Restarts open the data folder again, and restores make a new one from a backup file. */
export class LmdbStorage implements SimulatedStorage {
  private engine: LmdbEngine | undefined;
  private generation = 0;

  constructor(private readonly folder: string) {
    mkdirSync(this.data);
  }

  async open(): Promise<Engine> {
    await this.close();
    this.engine = await LmdbEngine.open(this.data);
    return this.engine;
  }

  async backUp(): Promise<void> {
    if (!this.engine) throw new TypeError("the store is not open");
    const file = await open(this.backup, "w");
    try {
      for await (const chunk of await this.engine.backUp()) await file.writeFile(chunk);
    } finally {
      await file.close();
    }
  }

  async restore(nowMs: number): Promise<number> {
    await this.close();
    rmSync(this.data, { recursive: true });
    this.generation += 1;
    const { horizonMs } = await restoreBackup(this.backup, this.data, { keepsOauth: true, nowMs });
    return horizonMs;
  }

  async close(): Promise<void> {
    await this.engine?.close();
    this.engine = undefined;
  }

  private get backup(): string {
    return join(this.folder, "backup");
  }

  private get data(): string {
    return join(this.folder, `data-${String(this.generation)}`);
  }
}
