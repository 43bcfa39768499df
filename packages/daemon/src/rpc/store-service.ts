import type { Server } from "@grpc/grpc-js";
import type { VersionedStore } from "@bolthole/contract";
import { type StreamCodec, type UnaryCodec, storeCodecs } from "@bolthole/contract/wire";
import { type HandlerContext, registerStream, registerUnary } from "./handler.js";

/** Serves every method of the store: its codec's two directions around a call. */
export function registerStoreService(server: Server, context: HandlerContext, store: VersionedStore): void {
  for (const [name, codec] of Object.entries(storeCodecs)) {
    // `storeCodecs` has an entry for each method, of that method's types: the compiler checks it there.
    const method = store[name as keyof VersionedStore].bind(store) as (request: unknown, call: unknown) => never;
    if (codec.kind === "unary")
      registerUnary(server, context, codec as unknown as UnaryCodec<unknown, unknown>, method);
    else registerStream(server, context, codec as unknown as StreamCodec<unknown, unknown>, method);
  }
}
