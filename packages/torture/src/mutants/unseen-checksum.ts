import { methodsOf, patchModule } from "./patch-module.js";

// Subtracts the checksum of a row that is replaced or deleted from its manifest, also when the row is damaged.
patchModule(
  (request) => request.endsWith("/damaged-rows.js"),
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "CountedChecksums", "of");
    const of = (_key: unknown, { checksum }: { readonly checksum: number }): number => checksum;
    Object.assign(methods, { of });
    return undefined;
  },
);
