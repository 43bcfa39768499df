import { methodsOf, patchModule } from "./patch-module.js";

// Whatever comes is given to LMDB, whether or not there is room for it.
patchModule(
  (request) => request === "./disk-reservation.js",
  (exports: Record<string, unknown>) => {
    Object.assign(methodsOf(exports, "DiskReservation", "admits"), { admits: () => true });
    return undefined;
  },
);
