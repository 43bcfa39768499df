import {
  type Call,
  type Mutation,
  type RequestIdTimes,
  StoreError,
  type UploadInputStates,
  type UploadSessionSnapshot,
  type VersionedStore,
  converted,
  readFailed,
  refusalOfArgument,
  writeFailed,
} from "@bolthole/contract";
import {
  InvalidArgumentError,
  type StoreCodecs,
  type StreamCodec,
  type UnaryCodec,
  type UploadCodec,
  encodeMessage,
  grpcMethod,
  isMutation,
  storeCodecs,
} from "@bolthole/contract/wire";
import type { GrpcConnection } from "./grpc-connection.js";
import type { RequestIds } from "./request-ids.js";

/**
 * Creates a store whose methods call the daemon. Each method encodes the request, calls, and decodes the response.
 *
 * Every method is retried within its deadline. A mutation (an RPC without a declared idempotency level) is retried under
 * one request id: the caller's, or a new one of `requestIds`. A streamed load is retried until its first message has
 * arrived. An upload is retried when its chunks can be read again.
 *
 * A mutation names the store of `storeId`, unless the caller names another one, so that no other store applies it.
 */
export function createGrpcStore(connection: GrpcConnection, requestIds: RequestIds, storeId?: string): VersionedStore {
  const methods = Object.entries(storeCodecs).map(([name, codec]) => [
    name,
    methodOf({ connection, requestIds, storeId }, codec),
  ]);
  // The declaration of `storeCodecs` makes the compiler check that it has an entry of the right type for each method.
  return Object.fromEntries(methods) as VersionedStore;
}

type Method = (request: never, call?: Call) => unknown;

/** What the methods of one store share. */
interface Client {
  readonly connection: GrpcConnection;
  readonly requestIds: RequestIds;
  /** The id of the store that the client was connected to, when it is known. */
  readonly storeId: string | undefined;
}

function methodOf(client: Client, codec: StoreCodecs[keyof StoreCodecs]): Method {
  const { connection } = client;
  switch (codec.kind) {
    case "unary":
      return isMutation(codec.method) ? mutation(client, codec) : unaryMethod(connection, codec);
    case "stream":
      return streamMethod(connection, codec);
    case "upload":
      return uploadMethod(connection, codec);
  }
}

function unaryMethod(connection: GrpcConnection, codec: UnaryCodec<object, unknown>): Method {
  const method = grpcMethod(codec.method);
  return async (request, call) =>
    codec.decodeResponse(await connection.unary(method, encode(codec, request), undefined, call));
}

/**
 * Returns the method of a mutation. When the time of a request id that was made here is refused, the request is sent once
 * more under a new id with a time that the store accepts. The store refused the only copy of the first one: if an earlier
 * copy could still be applied, the call would have rejected with an `OutcomeUnknownError`.
 */
function mutation({ connection, requestIds, storeId }: Client, codec: UnaryCodec<object, unknown>): Method {
  const method = grpcMethod(codec.method);
  return async (request: Mutation, call = {}) => {
    const limited: Call = { signal: call.signal, deadline: connection.deadlineOf(call) };
    const send = async (requestId: string): Promise<unknown> => {
      const expectedStoreId = request.expectedStoreId ?? storeId;
      const message = encode(codec, { ...request, requestId, expectedStoreId });
      try {
        return codec.decodeResponse(await connection.unary(method, message, requestId, limited));
      } catch (error) {
        const times = refusedTimesOf(error);
        if (times) requestIds.learn(times);
        throw error;
      }
    };
    try {
      return await send(request.requestId ?? requestIds.next());
    } catch (error) {
      if (request.requestId !== undefined || !refusedTimesOf(error)) throw error;
      return send(requestIds.next());
    }
  };
}

/** Returns the times that the store accepts if it refused the time of a request id. */
const refusedTimesOf = (error: unknown): RequestIdTimes | undefined =>
  error instanceof StoreError ? error.subject.requestIdTimes : undefined;

function streamMethod(connection: GrpcConnection, codec: StreamCodec<object, unknown>): Method {
  const method = grpcMethod(codec.method);
  return (request, call) => codec.decodeResponse(connection.stream(method, () => encode(codec, request), call));
}

function uploadMethod(
  connection: GrpcConnection,
  codec: UploadCodec<UploadSessionSnapshot | UploadInputStates, unknown>,
): Method {
  const method = grpcMethod(codec.method);
  return async (request: UploadSessionSnapshot | UploadInputStates, call) => {
    const parts: AsyncIterable<unknown> = "chunks" in request ? request.chunks : request.parts;
    // A generator returns itself as its iterator, and can be read only once.
    const isRepeatable = (parts[Symbol.asyncIterator]() as unknown) !== parts;
    const messages = () => encodedParts(codec, request);
    return codec.decodeResponse(await connection.upload(method, messages, isRepeatable, call));
  };
}

/** Yields the messages of an upload. Throws INVALID_ARGUMENT for a part that has no form on the wire. */
async function* encodedParts(
  codec: UploadCodec<UploadSessionSnapshot | UploadInputStates, unknown>,
  request: UploadSessionSnapshot | UploadInputStates,
): AsyncGenerator<Buffer, void> {
  try {
    for await (const part of codec.encodeRequest(request)) yield encodeMessage(codec.method.input, part);
  } catch (error) {
    throw error instanceof InvalidArgumentError ? refusalOfArgument(error, writeFailed) : error;
  }
}

/** Encodes a request. Rejects a value that has no wire form with the error that the daemon would return for it. */
const encode = (codec: UnaryCodec<object, unknown> | StreamCodec<object, unknown>, request: object): Buffer =>
  converted("", isMutation(codec.method) ? writeFailed : readFailed, () =>
    encodeMessage(codec.method.input, codec.encodeRequest(request)),
  );
