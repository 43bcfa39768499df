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

/** One unary RPC: its messages, and their model values, in both directions. */
export interface UnaryCodec<Request, Answer, I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly kind: "unary";
  readonly method: DescMethodUnary<I, O>;
  decodeRequest(message: MessageShape<I>): Request;
  encodeRequest(request: Request): MessageInitShape<I>;
  decodeResponse(message: MessageShape<O>): Answer;
  encodeResponse(answer: Answer): MessageInitShape<O>;
}

/** One RPC whose answer comes in parts. */
export interface StreamCodec<
  Request,
  Answer,
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "stream";
  readonly method: DescMethodServerStreaming<I, O>;
  decodeRequest(message: MessageShape<I>): Request;
  encodeRequest(request: Request): MessageInitShape<I>;
  /** Settles when the first part is there, if the answer needs it. */
  decodeResponse(parts: AsyncIterable<MessageShape<O>>): Answer;
  encodeResponse(answer: Awaited<Answer>): AsyncIterable<MessageInitShape<O>>;
}

/** One RPC whose request comes in parts. */
export interface UploadCodec<
  Request,
  Answer,
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "upload";
  readonly method: DescMethodClientStreaming<I, O>;
  /** Settles when the first part is there. */
  decodeRequest(parts: AsyncIterable<MessageShape<I>>): Promise<Request>;
  encodeRequest(request: Request): AsyncIterable<MessageInitShape<I>>;
  decodeResponse(message: MessageShape<O>): Answer;
  encodeResponse(answer: Answer): MessageInitShape<O>;
}

type Directions<C> = Omit<C, "kind" | "method">;

/** Fixes the message types by the method, so that an entry is checked against its own proto. */
export const unary = <Request, Answer, I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  directions: Directions<UnaryCodec<Request, Answer, I, O>>,
): UnaryCodec<Request, Answer, I, O> => ({ kind: "unary", method, ...directions });

export const stream = <Request, Answer, I extends DescMessage, O extends DescMessage>(
  method: DescMethodServerStreaming<I, O>,
  directions: Directions<StreamCodec<Request, Answer, I, O>>,
): StreamCodec<Request, Answer, I, O> => ({ kind: "stream", method, ...directions });

export const upload = <Request, Answer, I extends DescMessage, O extends DescMessage>(
  method: DescMethodClientStreaming<I, O>,
  directions: Directions<UploadCodec<Request, Answer, I, O>>,
): UploadCodec<Request, Answer, I, O> => ({ kind: "upload", method, ...directions });

/** An RPC without a declared idempotency level changes the store; its request carries a request id. */
export const isMutation = (method: DescMethod): boolean =>
  method.idempotency === MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
