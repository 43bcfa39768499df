import assert from "node:assert/strict";
import type { CaseContext, ConformanceCase } from "./conformance-case.js";
import type { StoreFactory, StoreHandle } from "./store-factory.js";

/** Runs one case on a site of its own; rejects when the store does not conform. */
export async function runCase(one: ConformanceCase, factory: StoreFactory): Promise<void> {
  const site = await factory.createSite();
  let handle: StoreHandle | undefined;
  const open = (): StoreHandle => {
    assert.ok(handle, "the store could not be opened");
    return handle;
  };
  const context: CaseContext = {
    capabilities: factory.capabilities,
    get store() {
      return open().store;
    },
    get versioned() {
      const { versioned } = open();
      assert.ok(versioned, "a handle has no versioned store, although `versions` is declared");
      return versioned;
    },
    hold() {
      const { hold } = open();
      assert.ok(hold, "a handle cannot hold its writer, although `holds` is declared");
      return hold();
    },
    async reopen() {
      const { close } = open();
      handle = undefined;
      await close();
      handle = await site.open();
    },
  };
  try {
    handle = await site.open();
    await one.run(context);
  } finally {
    await handle?.close();
    await site.remove();
  }
}
