import type { StoreFactory } from "@bolthole/conformance";
import type { RuntimeStore } from "@bolthole/contract";
import { memoryStores } from "./memory-stores.js";

/** A change to the plain store, where one to the store with versions would not do. */
export function withPlain(alter: (store: RuntimeStore) => Partial<RuntimeStore>): StoreFactory {
  const sound = memoryStores();
  return {
    ...sound,
    async createSite() {
      const site = await sound.createSite();
      const open = async () => {
        const handle = await site.open();
        const changes = alter(handle.store);
        const store = new Proxy(handle.store, {
          get: (target, name) => Reflect.get(name in changes ? changes : target, name) as unknown,
        });
        return { ...handle, store };
      };
      return { ...site, open };
    },
  };
}
