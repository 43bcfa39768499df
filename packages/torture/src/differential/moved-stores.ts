import { exportContents, importContents } from "@bolthole/contract";
import { createEngineStore, type EngineStore } from "@bolthole/core";
import { plainOf } from "./observation.js";
import { listAll } from "./read-steps.js";
import type { Storage } from "./storages.js";

const PAGE = 100;

/** Returns the complete contents of a store as text, without its versions and outcomes. */
export async function contentsText(store: EngineStore): Promise<string> {
  const contents = [];
  for (const { runtimeId } of await listAll(store, PAGE)) {
    contents.push(await plainOf(await exportContents(store, { runtimeId })));
  }
  return JSON.stringify(contents);
}

/** Imports every runtime of a store into an empty storage, and returns the contents of that as text. */
export const contentsAfterImport = (from: EngineStore, to: Storage): Promise<string> =>
  withStore(to, async (store) => {
    for (const { runtimeId } of await listAll(from, PAGE)) {
      const contents = await exportContents(from, { runtimeId });
      if (contents) await importContents(store, { contents, overwrite: false, dryRun: false });
    }
    return contentsText(store);
  });

/** Returns the contents of a storage that no engine has open as text. */
export const contentsOf = (storage: Storage): Promise<string> => withStore(storage, contentsText);

async function withStore<T>(storage: Storage, use: (store: EngineStore) => Promise<T>): Promise<T> {
  const { engine } = await storage.open(true);
  try {
    return await use(createEngineStore(engine));
  } finally {
    await storage.close();
  }
}
