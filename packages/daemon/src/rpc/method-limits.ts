import type { DescMethod } from "@bufbuild/protobuf";
import { AdminService, RuntimeStoreService, grpcMethod, isMutation } from "@bolthole/contract/wire";
import type { Config } from "../config.js";
import { ADMINISTRATION_RESERVE } from "./admission.js";
import { MAX_HEADER_BYTES } from "./http2-limits.js";
import { type BudgetLimits, ByteBudget } from "./byte-budget.js";

/** The limits of the requests of one method. */
export interface MethodLimits {
  readonly maxMessageBytes: number;
  /** The setting that raises the limit. Undefined when none does. */
  readonly setting: string | undefined;
  readonly isMutation: boolean;
  /** Whether a request has several messages. Otherwise the call begins when its client has ended the request. */
  readonly isRequestStream: boolean;
  /** Whether a response has several messages. */
  readonly isResponseStream: boolean;
  /** Whether the method is one of the standard services of gRPC: the store does not admit its calls, and they may be open for long. */
  readonly isStandard: boolean;
  /** False for health checks, which reveal nothing except health. */
  readonly needsToken: boolean;
}

/** The bytes of a message around an input row. */
const ROW_MARGIN = 64 * 1024;

/** The requests of health checks and of reflection have a name in them. */
const MAX_NAME_BYTES = 4096;

const HEALTH: MethodLimits = {
  maxMessageBytes: MAX_NAME_BYTES,
  setting: undefined,
  isMutation: false,
  isRequestStream: false,
  // A watch, or a check, whose response is short.
  isResponseStream: true,
  isStandard: true,
  needsToken: false,
};
/** Its responses are sent one at a time. */
const REFLECTION: MethodLimits = { ...HEALTH, isRequestStream: true, isResponseStream: false, needsToken: true };

/** The standard services of gRPC, by the beginning of their paths. */
const STANDARD_SERVICES: readonly [string, MethodLimits][] = [
  ["/grpc.health.v1.Health/", HEALTH],
  ["/grpc.reflection.", REFLECTION],
];

const { loadAuthOauthFlowSnapshot, loadInputState, loadOpsLifecycle, listRuntimes } = RuntimeStoreService.method;

/** Whether a method returns one message that may be long. Mutations and the other loads return little. */
export const hasLongResponse = (method: DescMethod): boolean =>
  [loadAuthOauthFlowSnapshot, loadInputState, loadOpsLifecycle, listRuntimes].some((one) => one === method);

/** Returns the size of the largest request message: an import has each input row in one message, also one longer than a request may be. */
export const largestMessage = ({ maxRequestSize, maxInputRowSize }: Config): number =>
  Math.max(maxRequestSize, maxInputRowSize + ROW_MARGIN);

/** Returns the function that finds the limits of a method by its path. It returns undefined for a method that does not exist. */
export function methodLimits(config: Config): (path: string) => MethodLimits | undefined {
  const limits = new Map<string, MethodLimits>();
  const add = (method: DescMethod): void => {
    const isStream = method.methodKind === "client_streaming";
    limits.set(grpcMethod(method).path, {
      maxMessageBytes: isStream ? largestMessage(config) : config.maxRequestSize,
      setting: isStream ? "--max-input-row-size" : "--max-request-size",
      isMutation: isMutation(method),
      isRequestStream: isStream,
      isResponseStream: method.methodKind === "server_streaming",
      isStandard: false,
      needsToken: true,
    });
  };
  for (const service of [RuntimeStoreService, AdminService]) service.methods.forEach(add);
  return (path) => limits.get(path) ?? STANDARD_SERVICES.find(([prefix]) => path.startsWith(prefix))?.[1];
}

/** What small requests may hold above `--max-requests-size`, and small responses above `--max-responses-size`. */
const SMALL_RESERVE = 16 * 1024 * 1024;

/** Returns the budget of the requests in flight. One connection may hold half of it, and each largest message has space in it. */
export function requestBudget(config: Config): ByteBudget {
  const total = Math.max(config.maxRequestsSize, largestMessage(config) + SMALL_RESERVE);
  const connection = Math.max(Math.floor(total / 2), largestMessage(config) + SMALL_RESERVE);
  return new ByteBudget({ total, connection, reserve: SMALL_RESERVE });
}

/** The memory of an open stream without a message: its headers, and the objects of Node and of grpc-js. */
export const STREAM_BYTES = MAX_HEADER_BYTES;
/**
 * The open streams of a listener that may be more than `--max-requests`: those of the operator, and as many that are refused with details.
 */
const MORE_STREAMS = 2 * ADMINISTRATION_RESERVE;

/** Returns the limits of the open streams of one listener. One connection may have half of them, and each may have one. */
export function streamLimits({ maxRequests, maxConnections }: Config): BudgetLimits {
  const total = (maxRequests + MORE_STREAMS) * STREAM_BYTES;
  return { total, connection: total / 2, reserve: maxConnections * STREAM_BYTES };
}

/** Returns the largest number of concurrent calls on one connection. The daemon tells it to every client, which queues further calls. */
export const streamsOfConnection = (config: Config): number =>
  Math.max(1, Math.min(config.maxStreams, Math.floor(streamLimits(config).connection / STREAM_BYTES)));

/** Returns the budget of the responses that clients have not received yet. One connection may hold a quarter of it. */
export function responseBudget({ maxResponsesSize }: Config): ByteBudget {
  return new ByteBudget({
    total: maxResponsesSize,
    connection: Math.floor(maxResponsesSize / 4),
    reserve: SMALL_RESERVE,
  });
}
