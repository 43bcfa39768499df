import { methodsOf, patchModule } from "./patch-module.js";

// Whatever comes is given to LMDB, whether or not there is room for it.
patchModule(
  (request) => request === "./data-file-room.js",
  (exports: Record<string, unknown>) => {
    Object.assign(methodsOf(exports, "DataFileRoom", "admits"), { admits: () => true });
    return undefined;
  },
);
