import { v7 as uuidv7 } from "uuid";
import {
  type Call,
  type UploadSessionSnapshot,
  type VersionedStore,
  readFailed,
  writeFailed,
} from "@bolthole/contract";
import {
  InvalidArgumentError,
  type StoreCodecs,
  type StreamCodec,
  type UnaryCodec,
  encodeMessage,
  grpcMethod,
  isMutation,
  storeCodecs,
} from "@bolthole/contract/wire";
import type { GrpcConnection } from "./connection.js";

/** The versioned store on the other end of a connection: every method is its codec's two directions around a call. */
export function createGrpcStore(connection: GrpcConnection): VersionedStore {
  const methods = Object.entries(storeCodecs).map(([name, codec]) => [name, methodOf(connection, codec)]);
  // `storeCodecs` has an entry for each method, of that method's types: the compiler checks it there.
  return Object.fromEntries(methods) as VersionedStore;
}

type Method = (request: never, call?: Call) => unknown;

function methodOf(connection: GrpcConnection, codec: StoreCodecs[keyof StoreCodecs]): Method {
  switch (codec.kind) {
    case "unary":
      return unaryMethod(connection, codec);
    case "stream":
      return streamMethod(connection, codec);
    case "upload":
      return uploadMethod(connection, codec);
  }
}

function unaryMethod(connection: GrpcConnection, codec: UnaryCodec<object, unknown>): Method {
  const method = grpcMethod(codec.method);
  const changes = isMutation(codec.method);
  return async (request: { readonly requestId?: string | undefined }, call) => {
    const requestId = changes ? (request.requestId ?? uuidv7()) : undefined;
    const message = encode(codec, changes ? { ...request, requestId } : request);
    return codec.decodeResponse(await connection.unary(method, message, requestId, call));
  };
}

function streamMethod(connection: GrpcConnection, codec: StreamCodec<object, unknown>): Method {
  const method = grpcMethod(codec.method);
  return (request, call) => codec.decodeResponse(connection.stream(method, () => encode(codec, request), call));
}

function uploadMethod(connection: GrpcConnection, codec: StoreCodecs["uploadSessionSnapshot"]): Method {
  const method = grpcMethod(codec.method);
  return async (request: UploadSessionSnapshot, call) => {
    const { chunks } = request;
    // A generator is its own iterator, and gives its chunks only once.
    const isRepeatable = (chunks[Symbol.asyncIterator]() as unknown) !== chunks;
    const parts = () => codec.encodeRequest(request);
    return codec.decodeResponse(await connection.upload(method, parts, isRepeatable, call));
  };
}

/** What has no form on the wire is refused here as the daemon would refuse it. */
function encode(codec: UnaryCodec<object, unknown> | StreamCodec<object, unknown>, request: object): Buffer {
  try {
    return encodeMessage(codec.method.input, codec.encodeRequest(request));
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    const fail = isMutation(codec.method) ? writeFailed : readFailed;
    const { field, expected, actual } = error;
    throw fail("INVALID_ARGUMENT", error.message, { record: field, expected, actual, cause: error });
  }
}
