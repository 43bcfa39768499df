import { methodsOf, patchModule } from "./patch-module.js";

type Write = (this: object, puts: readonly unknown[]) => Promise<void>;

// Writes a group in two transactions, so that a fault between them leaves half of it.
patchModule(
  (request) => request === "./environment.js",
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "Environment", "write");
    const write = methods["write"] as Write;
    const changed: Write = async function (puts) {
      const middle = Math.ceil(puts.length / 2);
      await write.call(this, puts.slice(0, middle));
      if (middle < puts.length) await write.call(this, puts.slice(middle));
    };
    Object.assign(methods, { write: changed });
    return undefined;
  },
);
