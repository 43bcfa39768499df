import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import type {
  Metadata,
  Server,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  StatusObject,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
} from "@grpc/grpc-js";
import { type Call, readFailed, writeFailed } from "@bolthole/contract";
import {
  AdminService,
  EXPECTED_STORE_KEY,
  type StreamCodec,
  type TakeMemory,
  type UnaryCodec,
  type UploadCodec,
  comparesStore,
  grpcMethod,
  isMutation,
} from "@bolthole/contract/wire";
import type { Log } from "../log.js";
import type { Admission, CallKind } from "./admission.js";
import {
  MessageSender,
  type ReceivedMessage,
  type Slices,
  decoded,
  receive,
  receiveAll,
  requestOf,
} from "./call-messages.js";
import { storeErrorOfFailure, toStatus } from "./failure.js";
import { requestMemoryOf } from "./request-memory.js";
import type { ResponseBudget } from "./response-budget.js";
import { http2StreamOf, responseMetadata } from "./response-stream.js";

// The flow of a call: limits and authentication (`stream-guard.ts`) -> admission -> measure and decode -> store -> encode -> send.
// Each register function below connects one kind of RPC to this flow. A failure at any step ends the call with the status of a
// StoreError.

/** The objects that all handlers share. */
export interface HandlerContext {
  readonly admission: Admission;
  readonly responses: ResponseBudget;
  readonly log: Log;
  readonly newSlices: () => Slices;
  /** The id of the store that is served. */
  readonly storeId: string;
}

/** A call, also one whose request is a stream. */
interface AnyCall {
  readonly metadata: Metadata;
}

/** What the calls of one method have in common. */
interface ServedMethod<D extends DescMessage> {
  readonly path: string;
  readonly responseSerialize: ReturnType<typeof grpcMethod>["responseSerialize"];
  readonly facts: CallFacts;
  /** Throws STORE_REPLACED when the call names another store than the one that is served. */
  refuseOtherStore(call: AnyCall): void;
  /** Returns the decoded request message of a call for the store that is served. */
  messageOf(call: AnyCall & { readonly request: ReceivedMessage<D> }): Promise<MessageShape<D>>;
}

function servedMethod<D extends DescMessage>(
  { newSlices, storeId }: HandlerContext,
  desc: DescMethod & { readonly input: D },
  kind: CallKind,
): ServedMethod<D> {
  const facts = factsOf(desc, kind);
  const refuseOtherStore = storeComparison(desc, storeId);
  return {
    ...grpcMethod(desc),
    facts,
    refuseOtherStore,
    messageOf: async (call) => {
      refuseOtherStore(call);
      return decoded(call.request, newSlices, memoryFor(call, facts));
    },
  };
}

/** Serves an RPC with one request message and one response message, which is short or that of a mutation. */
export function registerUnary<Request, Response>(
  server: Server,
  context: HandlerContext,
  codec: UnaryCodec<Request, Response>,
  run: (request: Request, call: Call) => Promise<Response>,
): void {
  const method = servedMethod(context, codec.method, "short");
  const { path, responseSerialize, facts } = method;
  const handler: handleUnaryCall<ReceivedMessage, object> = (call, callback) => {
    const serve = async (): Promise<void> => {
      const message = await method.messageOf(call);
      const request = await requestOf(codec, call.request, message, context.newSlices);
      const response = await run(request, callOptions(call));
      const bytes = responseSerialize(codec.encodeResponse(response, () => message));
      countResponse(context.responses, call, bytes.length, facts.isMutation);
      call.sendMetadata(responseMetadata());
      callback(null, bytes);
    };
    void admit(context, call, facts, serve, callback);
  };
  server.register(path, handler, alreadyEncoded, receive(codec.method.input), "unary");
}

/**
 * Serves a load with one response message that may be long. It is sent like the messages of a stream, which on the wire is the same: memory
 * is taken before the load begins, and a client that does not receive the message does not keep it.
 */
export function registerLongLoad<Request, Response>(
  server: Server,
  context: HandlerContext,
  codec: UnaryCodec<Request, Response>,
  run: (request: Request, call: Call) => Promise<Response>,
): void {
  const method = servedMethod(context, codec.method, "short");
  const { path, responseSerialize, facts } = method;
  const handler: handleServerStreamingCall<ReceivedMessage, object> = (call) => {
    const sender = new MessageSender(call, context);
    const serve = async (): Promise<void> => {
      const message = await method.messageOf(call);
      const request = await requestOf(codec, call.request, message, context.newSlices);
      if (!(await sender.takeMemory())) return;
      const slices = context.newSlices();
      const loaded = await run(request, callOptions(call));
      // A load that took long has a long message.
      await slices.spend();
      const response = codec.encodeResponse(loaded, () => message);
      sender.sendOne((allocate) => responseSerialize(response, allocate));
    };
    void admit(context, call, facts, serve, (status) => call.emit("error", status));
  };
  server.register(path, handler, alreadyEncoded, receive(codec.method.input), "serverStream");
}

/** Serves an RPC with a stream of response messages. A slow client delays reading the response, and does not block the store. */
export function registerStream<Request, Response>(
  server: Server,
  context: HandlerContext,
  codec: StreamCodec<Request, Response>,
  run: (request: Request, call: Call) => Response,
): void {
  const method = servedMethod(context, codec.method, "long");
  const { path, responseSerialize, facts } = method;
  const handler: handleServerStreamingCall<ReceivedMessage, object> = (call) => {
    const sender = new MessageSender(call, context);
    const serve = async (): Promise<void> => {
      const message = await method.messageOf(call);
      const request = codec.decodeRequest(message);
      if (!(await sender.takeMemory())) return;
      const response = await run(request, callOptions(call));
      const messages = codec.encodeResponse(response, () => message);
      await sender.sendAll(messages, responseSerialize, codec.documentBytes?.(response));
    };
    void admit(context, call, facts, serve, (status) => call.emit("error", status));
  };
  server.register(path, handler, alreadyEncoded, receive(codec.method.input), "serverStream");
}

/** Serves an RPC with a stream of request messages, which are received as fast as the store reads them. */
export function registerUpload<Request, Response>(
  server: Server,
  context: HandlerContext,
  codec: UploadCodec<Request, Response>,
  run: (request: Request, call: Call) => Promise<Response>,
): void {
  const method = servedMethod(context, codec.method, "long");
  const { path, responseSerialize, facts } = method;
  const handler: handleClientStreamingCall<ReceivedMessage, object> = (call, callback) => {
    const messages = receiveAll(call, context.newSlices);
    const serve = async (): Promise<void> => {
      method.refuseOtherStore(call);
      const request = await codec.decodeRequest(messages);
      const response = await run(request, callOptions(call));
      call.sendMetadata(responseMetadata());
      callback(null, codec.encodeResponse(response));
    };
    // A request that is refused early is not received to its end.
    void admit(context, call, facts, serve, callback, () => messages.return(undefined));
  };
  server.register(path, handler as never, responseSerialize, receive(codec.method.input), "clientStream");
}

/** A response of this size costs less than its stream, which the guard of streams counts. */
const UNCOUNTED_BYTES = 16 * 1024;

interface CallFacts {
  readonly method: string;
  readonly isMutation: boolean;
  readonly kind: CallKind;
}

const factsOf = (method: DescMethod, kind: CallKind): CallFacts => ({
  method: method.name,
  isMutation: isMutation(method),
  kind: method.parent === AdminService ? "administration" : kind,
});

/** Admits a call and serves it. Passes the status of a failure to `fail`, then runs `cleanUp`, and then ends the admission. */
async function admit(
  { admission, log }: HandlerContext,
  call: object,
  { method, isMutation, kind }: CallFacts,
  serve: () => Promise<void>,
  fail: (status: StatusObject) => void,
  cleanUp?: () => Promise<unknown>,
): Promise<void> {
  const releaseRequest = requestMemoryOf(http2StreamOf(call))?.hold();
  let leave: (() => void) | undefined;
  try {
    leave = admission.enter(kind);
    await serve();
  } catch (error) {
    const failure = storeErrorOfFailure(error, method, isMutation, log);
    log.debug({ method, reason: failure.reason, record: failure.subject.record }, "call refused");
    fail(toStatus(failure));
  } finally {
    if (cleanUp) await cleanUp();
    leave?.();
    releaseRequest?.();
  }
}

/** Returns the function that takes memory for the decoded request of a call. */
function memoryFor(call: object, { isMutation }: CallFacts): TakeMemory {
  const memory = requestMemoryOf(http2StreamOf(call));
  return (bytes) => memory?.takeDecoded(bytes, isMutation ? writeFailed : readFailed);
}

/** Returns the function that throws STORE_REPLACED when the metadata of a call names another store than the one that is served. */
function storeComparison(method: DescMethod, storeId: string): (call: AnyCall) => void {
  if (!comparesStore(method)) return () => undefined;
  return ({ metadata }) => {
    const [expected] = metadata.get(EXPECTED_STORE_KEY);
    if (expected === undefined || expected === storeId) return;
    const text = `expected store ${String(expected)}, found store ${storeId}; connect again, and load from the store that is served now`;
    throw readFailed("STORE_REPLACED", text, {
      record: EXPECTED_STORE_KEY,
      expected: String(expected),
      actual: storeId,
    });
  };
}

/**
 * Counts the memory of a response with one message until its stream is closed. Throws BUSY when there is none, except for the response of
 * a mutation, which is applied already.
 */
function countResponse(responses: ResponseBudget, call: object, bytes: number, isMutation: boolean): void {
  if (bytes <= UNCOUNTED_BYTES) return;
  const stream = http2StreamOf(call);
  const memory = responses.takeNow(stream?.session, bytes, isMutation);
  if (!memory)
    throw readFailed("BUSY", "responses that clients do not receive hold too much memory; retry after a pause");
  if (!stream || stream.destroyed) memory.giveBack();
  else
    stream.once("close", () => {
      memory.giveBack();
    });
}

/** Passes on a message that is encoded already. */
const alreadyEncoded = (message: object): Buffer => message as Buffer;

function callOptions(
  call: Pick<
    | ServerUnaryCall<ReceivedMessage, object>
    | ServerWritableStream<ReceivedMessage, object>
    | ServerReadableStream<ReceivedMessage, object>,
    "getDeadline"
  >,
): Call {
  const deadline = call.getDeadline();
  return { deadline: deadline instanceof Date ? deadline.getTime() : deadline };
}
