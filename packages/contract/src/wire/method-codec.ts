import type {
  DescMessage,
  DescMethod,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { type MessageConversion, messageCodec } from "./message-codec.js";

/** The conversions of one unary RPC between its messages and their model values. */
export interface UnaryCodec<
  Request,
  Response,
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "unary";
  readonly method: DescMethodUnary<I, O>;
  decodeRequest(message: MessageShape<I>): Request;
  encodeRequest(request: Request): MessageInitShape<I>;
  decodeResponse(message: MessageShape<O>): Response;
  encodeResponse(response: Response): MessageInitShape<O>;
}

/** The conversions of one RPC whose response is a stream of messages. */
export interface StreamCodec<
  Request,
  Response,
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "stream";
  readonly method: DescMethodServerStreaming<I, O>;
  decodeRequest(message: MessageShape<I>): Request;
  encodeRequest(request: Request): MessageInitShape<I>;
  /** Where the response is a promise, it resolves after the first message or after the end of an empty stream. */
  decodeResponse(messages: AsyncIterable<MessageShape<O>>): Response;
  encodeResponse(response: Awaited<Response>): AsyncIterable<MessageInitShape<O>>;
}

/** The conversions of one RPC whose request is a stream of messages. */
export interface UploadCodec<
  Request,
  Response,
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "upload";
  readonly method: DescMethodClientStreaming<I, O>;
  /** Resolves when enough messages were read to make the request; the request may read the others later. */
  decodeRequest(messages: AsyncIterable<MessageShape<I>>): Promise<Request>;
  encodeRequest(request: Request): AsyncIterable<MessageInitShape<I>>;
  decodeResponse(message: MessageShape<O>): Response;
  encodeResponse(response: Response): MessageInitShape<O>;
}

/** Returns the codec of a unary RPC, with its two messages converted by tables or codecs. */
export function unary<Request, Response, I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  requestConversion: MessageConversion<MessageShape<I>, NoInfer<Request>>,
  responseConversion: MessageConversion<MessageShape<O>, NoInfer<Response>>,
): UnaryCodec<Request, Response, I, O> {
  const request = messageCodec(method.input, requestConversion);
  const response = messageCodec(method.output, responseConversion);
  return {
    kind: "unary",
    method,
    decodeRequest: request.toModel,
    encodeRequest: request.toWire,
    decodeResponse: response.toModel,
    encodeResponse: response.toWire,
  };
}

/** Returns the codec of an RPC whose response is a stream, which needs code. */
export function stream<Request, Response, I extends DescMessage, O extends DescMessage>(
  method: DescMethodServerStreaming<I, O>,
  requestConversion: MessageConversion<MessageShape<I>, NoInfer<Request>>,
  response: Pick<StreamCodec<Request, Response, I, O>, "decodeResponse" | "encodeResponse">,
): StreamCodec<Request, Response, I, O> {
  const request = messageCodec(method.input, requestConversion);
  return {
    kind: "stream",
    method,
    decodeRequest: request.toModel,
    encodeRequest: request.toWire,
    ...response,
  };
}

/** Returns the codec of an RPC whose request is a stream, which needs code. */
export function upload<Request, Response, I extends DescMessage, O extends DescMessage>(
  method: DescMethodClientStreaming<I, O>,
  request: Pick<UploadCodec<Request, Response, I, O>, "decodeRequest" | "encodeRequest">,
  responseConversion: MessageConversion<MessageShape<O>, NoInfer<Response>>,
): UploadCodec<Request, Response, I, O> {
  const response = messageCodec(method.output, responseConversion);
  return {
    kind: "upload",
    method,
    ...request,
    decodeResponse: response.toModel,
    encodeResponse: response.toWire,
  };
}

/** The codec that a method of an interface needs for an RPC. */
type MethodCodec<Method, Rpc> = Method extends (request: infer Request, ...rest: never[]) => infer Response
  ? Rpc extends DescMethodUnary<infer I, infer O>
    ? UnaryCodec<Request, Awaited<Response>, I, O>
    : Rpc extends DescMethodServerStreaming<infer I, infer O>
      ? StreamCodec<Request, Response, I, O>
      : Rpc extends DescMethodClientStreaming<infer I, infer O>
        ? UploadCodec<Request, Awaited<Response>, I, O>
        : never
  : never;

/** The codecs of a service: one for each of its RPCs, under the name of the RPC and of the method of an interface. */
export type ServiceCodecs<Methods, Rpcs> = {
  readonly [M in keyof Methods]: M extends keyof Rpcs ? MethodCodec<Methods[M], Rpcs[M]> : never;
} & Readonly<Record<keyof Rpcs, unknown>>;

/** Whether an RPC changes the store. The proto file states no idempotency level for such an RPC. */
export const isMutation = (method: DescMethod): boolean =>
  method.idempotency === MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
