import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";

/** A store of one engine, and its files. */
export interface StoreSite {
  /** The value of `--data`. */
  readonly data: string;
  readonly dataFile: string;
  /** The control folder. */
  readonly home: string;
  /** The flags that select the engine. */
  readonly args: readonly string[];
}

/** Returns the place of a store in a folder of its own. No file is made, except the folder of a database. */
export const STORE_SITES: Readonly<Record<"lmdb" | "sqlite", (folder: string, name: string) => StoreSite>> = {
  lmdb: (folder, name) => {
    const data = join(folder, name);
    return { data, dataFile: join(data, "data.mdb"), home: data, args: [] };
  },
  sqlite: (folder, name) => {
    const data = join(folder, name, "sessions.sqlite3");
    mkdirSync(dirname(data), { recursive: true, mode: 0o700 });
    return { data, dataFile: data, home: `${data}.bolthole`, args: ["--engine", "sqlite"] };
  },
};
