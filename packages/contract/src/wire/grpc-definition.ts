import { create, fromBinary } from "@bufbuild/protobuf";
import { type Allocate, toBytes } from "./encode-message.js";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

const serializer =
  <D extends DescMessage>(desc: D) =>
  (init: MessageInitShape<D>, allocate?: Allocate): Buffer =>
    toBytes(desc, create(desc, init), allocate);

const deserializer =
  <D extends DescMessage>(desc: D) =>
  (bytes: Buffer): MessageShape<D> =>
    fromBinary(desc, bytes);

/** How one RPC looks to grpc-js. What is sent may be given as a plain initialiser. */
export interface GrpcMethod<I extends DescMessage, O extends DescMessage> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (request: MessageInitShape<I>) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => MessageShape<I>;
  readonly responseSerialize: (answer: MessageInitShape<O>, allocate?: Allocate) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => MessageShape<O>;
}

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
