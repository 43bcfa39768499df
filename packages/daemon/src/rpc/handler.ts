import type {
  Server,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  StatusObject,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
} from "@grpc/grpc-js";
import { type Call, writeFailed } from "@bolthole/contract";
import { type StreamCodec, type UnaryCodec, type UploadCodec, grpcMethod, isMutation } from "@bolthole/contract/wire";
import type { Log } from "../log.js";
import { type ReceivedMessage, type Slices, receive, receiveAll, requestOf, sendAll } from "./call-messages.js";
import { storeErrorOfFailure, toStatus } from "./failure.js";

// The flow of a call: authentication (an interceptor of the TCP server) -> admission -> decode -> store -> encode -> send.
// Each register function below connects one kind of RPC to this flow. A failure at any step ends the call with the status of a
// StoreError.

/** The objects that all handlers share. */
export interface HandlerContext {
  readonly admission: Admission;
  readonly log: Log;
  readonly newSlices: () => Slices;
}

/** Serves an RPC with one request message and one response message. */
export function registerUnary<Request, Response>(
  server: Server,
  context: HandlerContext,
  codec: UnaryCodec<Request, Response>,
  run: (request: Request, call: Call) => Promise<Response>,
): void {
  const { path, responseSerialize } = grpcMethod(codec.method);
  const handler: handleUnaryCall<ReceivedMessage, object> = (call, callback) => {
    const serve = async (): Promise<void> => {
      const request = await requestOf(codec, call.request, context.newSlices);
      const response = await run(request, callOptions(call));
      callback(null, codec.encodeResponse(response, call.request.message));
    };
    const facts = { method: codec.method.name, isMutation: isMutation(codec.method), requestBytes: call.request.bytes };
    void admit(context, facts, serve, callback);
  };
  server.register(path, handler as never, responseSerialize, receive(codec.method.input), "unary");
}

/** Serves an RPC with a stream of response messages. A slow client delays reading the response, and does not block the store. */
export function registerStream<Request, Response>(
  server: Server,
  context: HandlerContext,
  codec: StreamCodec<Request, Response>,
  run: (request: Request, call: Call) => Response,
): void {
  const { path, responseSerialize } = grpcMethod(codec.method);
  const handler: handleServerStreamingCall<ReceivedMessage, object> = (call) => {
    const serve = async (): Promise<void> => {
      const message = call.request.message();
      const response = await run(codec.decodeRequest(message), callOptions(call));
      await sendAll(
        call,
        codec.encodeResponse(response, () => message),
        responseSerialize,
      );
    };
    const facts = { method: codec.method.name, isMutation: false, requestBytes: call.request.bytes };
    void admit(context, facts, serve, (status) => call.emit("error", status));
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
  const { path, responseSerialize } = grpcMethod(codec.method);
  const handler: handleClientStreamingCall<ReceivedMessage, object> = (call, callback) => {
    const messages = receiveAll(call);
    const serve = async (): Promise<void> => {
      const request = await codec.decodeRequest(messages);
      const response = await run(request, callOptions(call));
      callback(null, codec.encodeResponse(response));
    };
    const facts = { method: codec.method.name, isMutation: true, requestBytes: 0 };
    // A request that is refused early is not received to its end.
    void admit(context, facts, serve, callback, () => messages.return(undefined));
  };
  server.register(path, handler as never, responseSerialize, receive(codec.method.input), "clientStream");
}

interface CallFacts {
  readonly method: string;
  readonly isMutation: boolean;
  /** The size of the request message; 0 for a stream, whose messages are counted by the store's upload limits. */
  readonly requestBytes: number;
}

/** Admits a call and serves it. Passes the status of a failure to `fail`, then runs `cleanUp`, and then ends the admission. */
async function admit(
  { admission, log }: HandlerContext,
  { method, isMutation, requestBytes }: CallFacts,
  serve: () => Promise<void>,
  fail: (status: StatusObject) => void,
  cleanUp?: () => Promise<unknown>,
): Promise<void> {
  let leave: (() => void) | undefined;
  try {
    leave = admission.enter(requestBytes);
    await serve();
  } catch (error) {
    const failure = storeErrorOfFailure(error, method, isMutation, log);
    log.debug({ method, reason: failure.reason, record: failure.subject.record }, "call refused");
    fail(toStatus(failure));
  } finally {
    if (cleanUp) await cleanUp();
    leave?.();
  }
}

/** Passes on a message that `sendAll` has encoded while the previous one was being sent. */
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

export interface AdmissionLimits {
  readonly requests: number;
  /** The total size of the request messages. */
  readonly bytes: number;
  /** The size of one request message. gRPC itself accepts larger ones, because an import has a whole input row in one message. */
  readonly requestBytes: number;
}

/** Counts the requests in flight, refuses those above the limits, and reports when none is left. */
export class Admission {
  requests = 0;
  bytes = 0;
  private isClosing = false;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly limits: AdmissionLimits) {}

  /**
   * Admits a request of this size and returns the function that removes it. Throws a StoreError with TOO_LARGE above the limit
   * of one request, with BUSY above the limits of all, and with SHUTTING_DOWN during a drain.
   */
  enter(bytes: number): () => void {
    const { requestBytes } = this.limits;
    if (bytes > requestBytes) {
      const text = `request: ${String(bytes)} bytes are more than the limit of ${String(requestBytes)}; raise the daemon's --max-request-size`;
      throw writeFailed("TOO_LARGE", text, {
        record: "request",
        expected: `at most ${String(requestBytes)} bytes`,
        actual: `${String(bytes)} bytes`,
      });
    }
    if (this.isClosing) throw writeFailed("SHUTTING_DOWN", "the daemon is shutting down; retry when it runs again");
    if (this.requests >= this.limits.requests || this.bytes + bytes > this.limits.bytes) {
      throw writeFailed("BUSY", "too many requests are in flight; retry after a pause", {
        expected: `at most ${String(this.limits.requests)} requests and ${String(this.limits.bytes)} bytes`,
        actual: `${String(this.requests + 1)} requests and ${String(this.bytes + bytes)} bytes`,
      });
    }
    this.requests += 1;
    this.bytes += bytes;
    return () => {
      this.requests -= 1;
      this.bytes -= bytes;
      if (this.requests === 0) for (const resolve of this.waiting.splice(0)) resolve();
    };
  }

  /** Admits no more requests. Resolves to true when none is in flight, or to false when `cutShort` aborts first. */
  drain(cutShort: AbortSignal): Promise<boolean> {
    this.isClosing = true;
    if (this.requests === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.waiting.push(() => {
        resolve(true);
      });
      cutShort.addEventListener("abort", () => {
        resolve(false);
      });
    });
  }
}
