import type { StoreFactory } from "@bolthole/conformance";
import type { RuntimeStore } from "@bolthole/contract";
import { memoryStores } from "./memory-stores.js";

/** Makes stores in memory with some methods of the `RuntimeStore` replaced. */
export function withPlain(alter: (store: RuntimeStore) => Partial<RuntimeStore>): StoreFactory {
  const intact = memoryStores();
  return {
    ...intact,
    async createSite() {
      const site = await intact.createSite();
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
