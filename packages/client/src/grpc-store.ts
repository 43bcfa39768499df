import { v7 as uuidv7 } from "uuid";
import type { Call, VersionedStore } from "@bolthole/contract";
import { type StreamCodec, type UnaryCodec, grpcMethod, isMutation, storeCodecs } from "@bolthole/contract/wire";
import type { Connection } from "./connection.js";

/** The versioned store on the other end of a connection: every method is its codec's two directions around a call. */
export function createGrpcStore(connection: Connection): VersionedStore {
  const methods = Object.entries(storeCodecs).map(([name, codec]) => [
    name,
    codec.kind === "unary"
      ? unaryMethod(connection, codec as unknown as UnaryCodec<object, unknown>)
      : streamMethod(connection, codec as unknown as StreamCodec<object, unknown>),
  ]);
  // `storeCodecs` has an entry for each method, of that method's types: the compiler checks it there.
  return Object.fromEntries(methods) as VersionedStore;
}

type Method = (request: object, call?: Call) => unknown;

function unaryMethod(connection: Connection, codec: UnaryCodec<object, unknown>): Method {
  const method = grpcMethod(codec.method);
  const changes = isMutation(codec.method);
  return async (request: { readonly requestId?: string | undefined }, call) => {
    const requestId = changes ? (request.requestId ?? uuidv7()) : undefined;
    const message = codec.fromRequest(changes ? { ...request, requestId } : request);
    return codec.toAnswer(await connection.unary(method, message, requestId, call));
  };
}

function streamMethod(connection: Connection, codec: StreamCodec<object, unknown>): Method {
  const method = grpcMethod(codec.method);
  return (request, call) => codec.toAnswer(connection.stream(method, codec.fromRequest(request), call));
}
