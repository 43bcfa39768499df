import type {
  Server,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  sendUnaryData,
} from "@grpc/grpc-js";
import { type Call, readFailed } from "@bolthole/contract";
import { type StreamCodec, type UnaryCodec, type UploadCodec, grpcMethod, isMutation } from "@bolthole/contract/wire";
import type { Log } from "../log.js";
import type { Admission } from "./admission.js";
import { toStatus, storeErrorOfFailure } from "./failure.js";
import { Outgoing } from "./outgoing.js";
import { type Received, receive } from "./received.js";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";

/** What every handler needs besides its method. */
export interface HandlerContext {
  readonly admission: Admission;
  readonly log: Log;
}

type Request = Received<DescMessage>;

const SENDER_STALL_MS = 60_000;

/** Serves one unary RPC: admit, convert, call, convert; errors become statuses with details. */
export function registerUnary<Req, Answer>(
  server: Server,
  context: HandlerContext,
  codec: UnaryCodec<Req, Answer>,
  run: (request: Req, call: Call) => Promise<Answer>,
): void {
  const { path, responseSerialize } = grpcMethod(codec.method);
  const handler: handleUnaryCall<Request, object> = (call, callback) => {
    void answer(call, callback);
  };
  const answer = async (call: ServerUnaryCall<Request, object>, callback: sendUnaryData<object>): Promise<void> => {
    let leave: (() => void) | undefined;
    try {
      leave = context.admission.enter(call.request.bytes);
      callback(null, codec.encodeResponse(await run(codec.decodeRequest(call.request.message()), limitsOf(call))));
    } catch (error) {
      callback(refusal(error, codec.method.name, isMutation(codec.method), context.log));
    } finally {
      leave?.();
    }
  };
  server.register(path, handler as never, responseSerialize, receive(codec.method.input), "unary");
}

/** Serves one RPC whose answer comes in parts. A slow reader holds back the parts, not the store. */
export function registerStream<Req, Answer>(
  server: Server,
  context: HandlerContext,
  codec: StreamCodec<Req, Answer>,
  run: (request: Req, call: Call) => Answer,
): void {
  const { path, responseSerialize } = grpcMethod(codec.method);
  const handler: handleServerStreamingCall<Request, object> = (call) => {
    void answer(call);
  };
  const answer = async (call: ServerWritableStream<Request, object>): Promise<void> => {
    let leave: (() => void) | undefined;
    try {
      leave = context.admission.enter(call.request.bytes);
      const parts = codec.encodeResponse(await run(codec.decodeRequest(call.request.message()), limitsOf(call)));
      const outgoing = new Outgoing(call);
      for await (const part of parts) {
        const isWanted = await outgoing.send((allocate) => responseSerialize(part, allocate));
        if (!isWanted) return;
      }
      call.end();
    } catch (error) {
      call.emit("error", refusal(error, codec.method.name, false, context.log));
    } finally {
      leave?.();
    }
  };
  server.register(path, handler, asIs, receive(codec.method.input), "serverStream");
}

/** Serves one RPC whose request comes in parts. They are taken as fast as they are used. */
export function registerUpload<Req, Answer>(
  server: Server,
  context: HandlerContext,
  codec: UploadCodec<Req, Answer>,
  run: (request: Req, call: Call) => Promise<Answer>,
): void {
  const { path, responseSerialize } = grpcMethod(codec.method);
  const handler: handleClientStreamingCall<Request, object> = (call, callback) => {
    void answer(call, callback);
  };
  const answer = async (
    call: ServerReadableStream<Request, object>,
    callback: sendUnaryData<object>,
  ): Promise<void> => {
    let leave: (() => void) | undefined;
    const parts = messages(call);
    try {
      leave = context.admission.enter(0);
      callback(null, codec.encodeResponse(await run(await codec.decodeRequest(parts), limitsOf(call))));
    } catch (error) {
      callback(refusal(error, codec.method.name, true, context.log));
    } finally {
      // What was refused by its declaration alone is read no further.
      await parts.return(undefined);
      leave?.();
    }
  };
  server.register(path, handler as never, responseSerialize, receive(codec.method.input), "clientStream");
}

/** The messages of a stream; it fails when no next one comes in time, or when the sender is gone. */
async function* messages(call: ServerReadableStream<Request, object>): AsyncGenerator<MessageShape<DescMessage>> {
  const stalled = setTimeout(() => {
    call.destroy(readFailed("CANCELLED", `the sender sent nothing for ${String(SENDER_STALL_MS / 1000)} s`));
  }, SENDER_STALL_MS);
  try {
    for await (const received of call as AsyncIterable<Request>) {
      stalled.refresh();
      yield received.message();
    }
    if (call.cancelled) throw readFailed("CANCELLED", "the sender gave up");
  } catch (error) {
    const isBrokenOff = (error as NodeJS.ErrnoException).code === "ERR_STREAM_PREMATURE_CLOSE";
    throw isBrokenOff ? readFailed("CANCELLED", "the sender broke the stream off", { cause: error }) : error;
  } finally {
    clearTimeout(stalled);
  }
}

/** A message that is encoded already, while the one before it is on its way. */
const asIs = (message: object): Buffer => message as Buffer;

function refusal(error: unknown, method: string, changes: boolean, log: Log): ReturnType<typeof toStatus> {
  const failure = storeErrorOfFailure(error, method, changes, log);
  log.debug({ method, reason: failure.reason, record: failure.subject.record }, "call refused");
  return toStatus(failure);
}

function limitsOf(call: Pick<ServerUnaryCall<Request, object>, "getDeadline">): Call {
  const deadline = call.getDeadline();
  return { deadline: deadline instanceof Date ? deadline.getTime() : deadline };
}
