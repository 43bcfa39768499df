import type { Server } from "@grpc/grpc-js";
import type { VersionedStore } from "@bolthole/contract";
import { type StreamCodec, type UnaryCodec, type UploadCodec, storeCodecs } from "@bolthole/contract/wire";
import { type HandlerContext, registerStream, registerUnary, registerUpload } from "./handler.js";

/** Serves every method of the store: its codec's two directions around a call. */
export function registerStoreService(server: Server, context: HandlerContext, store: VersionedStore): void {
  for (const [name, codec] of Object.entries(storeCodecs)) {
    // `storeCodecs` has an entry for each method, of that method's types: the compiler checks it there.
    const method = store[name as keyof VersionedStore].bind(store) as (request: unknown, call: unknown) => never;
    switch (codec.kind) {
      case "unary":
        registerUnary(server, context, codec as unknown as UnaryCodec<unknown, unknown>, method);
        break;
      case "stream":
        registerStream(server, context, codec as unknown as StreamCodec<unknown, unknown>, method);
        break;
      case "upload":
        registerUpload(server, context, codec as unknown as UploadCodec<unknown, unknown>, method);
        break;
    }
  }
}
