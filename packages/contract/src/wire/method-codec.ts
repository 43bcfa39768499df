import {
  type DescMessage,
  type DescMethod,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
  create,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { checkFields } from "./field-types.js";
import { type MessageConversion, messageCodec } from "./message-codec.js";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Pause, modelInSlices } from "./sliced-decoding.js";

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
  /** Decodes a long message, with pauses, and empties its lists. */
  decodeLongRequest(message: MessageShape<I>, pause: Pause): Promise<Request>;
  encodeRequest(request: Request): MessageInitShape<I>;
  /** Throws an `InvalidArgumentError` for a member that `encodeRequest` would drop. */
  refuseUnknown(request: Request): void;
  decodeResponse(message: MessageShape<O>): Response;
  /** `request` returns the message of the request, for a response whose form depends on it. */
  encodeResponse(response: Response, request?: () => MessageShape<I>): MessageInitShape<O>;
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
  /** Throws an `InvalidArgumentError` for a member that `encodeRequest` would drop. */
  refuseUnknown(request: Request): void;
  /** Where the response is a promise, it resolves after the first message or after the end of an empty stream. */
  decodeResponse(messages: AsyncIterable<MessageShape<O>>): Response;
  /** `request` returns the message of the request, for a response whose form depends on it. */
  encodeResponse(response: Awaited<Response>, request?: () => MessageShape<I>): AsyncIterable<MessageInitShape<O>>;
  /** Returns the size of the document that the messages carry together, and 0 without a document. Absent where it is not known. */
  documentBytes?(response: Awaited<Response>): number;
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
  /** Returns the first message, which describes the others. */
  encodeStart(request: Request): MessageInitShape<I>;
  /** Throws an `InvalidArgumentError` for a member that no message would have. `encodeRequest` checks the parts. */
  refuseUnknown?(request: Request): void;
  /** Yields all messages, with the first one. */
  encodeRequest(request: Request): AsyncIterable<MessageInitShape<I>>;
  decodeResponse(message: MessageShape<O>): Response;
  encodeResponse(response: Response): MessageInitShape<O>;
}

/**
 * Returns the codec of a unary RPC, with its two messages converted by tables or codecs. `encodeInForm` replaces the writing of a
 * response whose form depends on the request.
 */
export function unary<Request, Response, I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  requestConversion: MessageConversion<MessageShape<I>, NoInfer<Request>>,
  responseConversion: MessageConversion<MessageShape<O>, NoInfer<Response>>,
  encodeInForm?: UnaryCodec<Request, Response, I, O>["encodeResponse"],
): UnaryCodec<Request, Response, I, O> {
  const request = messageCodec(method.input, requestConversion);
  const response = messageCodec(method.output, responseConversion);
  return {
    kind: "unary",
    method,
    decodeRequest: request.toModel,
    decodeLongRequest: (message, pause) => modelInSlices(request, message, pause),
    encodeRequest: request.toWire,
    refuseUnknown: (value) => request.refuseUnknown?.(value),
    decodeResponse: response.toModel,
    encodeResponse: encodeInForm ?? response.toWire,
  };
}

/** Returns the codec of an RPC whose response is a stream, which needs code. */
export function stream<Request, Response, I extends DescMessage, O extends DescMessage>(
  method: DescMethodServerStreaming<I, O>,
  requestConversion: MessageConversion<MessageShape<I>, NoInfer<Request>>,
  response: Pick<StreamCodec<Request, Response, I, O>, "decodeResponse" | "encodeResponse" | "documentBytes">,
): StreamCodec<Request, Response, I, O> {
  const request = messageCodec(method.input, requestConversion);
  return {
    kind: "stream",
    method,
    decodeRequest: request.toModel,
    encodeRequest: request.toWire,
    refuseUnknown: (value) => request.refuseUnknown?.(value),
    ...response,
  };
}

/** Returns the codec of an RPC whose request is a stream, which needs code. */
export function upload<Request, Response, I extends DescMessage, O extends DescMessage>(
  method: DescMethodClientStreaming<I, O>,
  request: Pick<
    UploadCodec<Request, Response, I, O>,
    "decodeRequest" | "encodeStart" | "refuseUnknown" | "encodeRequest"
  >,
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

/** Returns memory for a serialised message. */
export type Allocate = (bytes: number) => Buffer;

/** Fields of this size and above are copied apart from the other fields: copying them once saves more than it costs. */
const LONG_BYTES = 16 * 1024;
const NO_BYTES = new Uint8Array();

// grpc-js accepts only a Buffer. This one shares the memory of the bytes.
const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Returns the bytes of a message. protobuf-es grows its memory while it writes and copies all of it at the end. Therefore
 * a long field of bytes is written apart, after the other fields (their order is free), into memory of `allocate`.
 */
export function toBytes<D extends DescMessage>(
  desc: D,
  message: MessageShape<D>,
  allocate: Allocate = Buffer.allocUnsafeSlow,
): Buffer {
  for (const field of desc.fields) {
    if (field.scalar !== ScalarType.BYTES || field.fieldKind !== "scalar" || field.oneof) continue;
    const value = (message as Record<string, unknown>)[field.localName];
    if (!(value instanceof Uint8Array) || value.length < LONG_BYTES) continue;
    const rest = toBinary(desc, { ...message, [field.localName]: NO_BYTES });
    const head = new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint32(value.length).finish();
    const bytes = allocate(rest.length + head.length + value.length);
    bytes.set(rest);
    bytes.set(head, rest.length);
    bytes.set(value, rest.length + head.length);
    return bytes;
  }
  return toBuffer(toBinary(desc, message));
}

/** Returns the bytes of a request. Throws an `InvalidArgumentError` that names the field without a form on the wire. */
export function encodeMessage<D extends DescMessage>(desc: D, init: MessageInitShape<D>): Buffer {
  checkFields(desc, init);
  return toBytes(desc, create(desc, init));
}

/** The path of one RPC and the serialisation of its messages, in the form that grpc-js needs. */
export interface GrpcMethod<I extends DescMessage, O extends DescMessage> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (request: MessageInitShape<I>) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => MessageShape<I>;
  readonly responseSerialize: (response: MessageInitShape<O>, allocate?: Allocate) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => MessageShape<O>;
}

/** Returns the definition of an RPC for a grpc-js client or server. */
export function grpcMethod<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { readonly input: I; readonly output: O },
): GrpcMethod<I, O> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: serializer(method.input),
    requestDeserialize: deserializer(method.input),
    responseSerialize: serializer(method.output),
    responseDeserialize: deserializer(method.output),
  };
}

const serializer =
  <D extends DescMessage>(desc: D) =>
  (init: MessageInitShape<D>, allocate?: Allocate): Buffer =>
    toBytes(desc, create(desc, init), allocate);

const deserializer =
  <D extends DescMessage>(desc: D) =>
  (bytes: Buffer): MessageShape<D> =>
    fromBinary(desc, bytes);
