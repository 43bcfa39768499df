import { truncate } from "node:fs/promises";
import { join } from "node:path";
import { methodsOf, patchModule } from "./patch-module.js";

interface OpenEngine {
  readonly folder: string;
  readonly writer: {
    readonly environment: { pages(): { readonly end: number; readonly pageBytes: number } };
  };
}

// Returns the reserved space first, while the writer still takes work.
patchModule(
  (request) => request === "./lmdb-engine.js",
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "LmdbEngine", "close");
    const close = methods["close"] as (this: object) => Promise<void>;
    const changed = async function (this: OpenEngine): Promise<void> {
      const { end, pageBytes } = this.writer.environment.pages();
      await truncate(join(this.folder, "data.mdb"), end * pageBytes);
      await close.call(this);
    };
    Object.assign(methods, { close: changed });
    return undefined;
  },
);
