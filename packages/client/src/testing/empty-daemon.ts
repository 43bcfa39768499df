import { Server, type StatusObject, type sendUnaryData } from "@grpc/grpc-js";
import { RuntimeStoreService, grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { DEFAULT_LIMITS } from "@bolthole/core";
import { type BoundServer, bindServer } from "./bound-server.js";

export const EMPTY_STORE_ID = "5a0d8c3e-7b53-4d1c-9a35-6c6a0f2a1b11";

/** A daemon that counts the calls of every RPC, and refuses all but `GetServerInfo`. */
export interface EmptyDaemon extends BoundServer {
  /** Returns how many calls have arrived. */
  arrived(): number;
  /** Makes it answer no further call until `answer`. */
  silence(): void;
  /** Makes it answer again, also the calls that have arrived meanwhile. */
  answer(): void;
}

/** Starts a daemon that refuses every call with this status, on a loopback port unless there is a socket. */
export async function startEmptyDaemon(
  refusal: Pick<StatusObject, "code" | "details"> & Partial<StatusObject>,
  socket?: string,
): Promise<EmptyDaemon> {
  const server = new Server();
  let arrived = 0;
  /** The answers that wait, or undefined while none has to wait. */
  let waiting: (() => void)[] | undefined;
  const whenAllowed = (respond: () => void): void => {
    arrived += 1;
    if (waiting) waiting.push(respond);
    else respond();
  };
  const info = storeCodecs.getServerInfo.encodeResponse({
    serverVersion: "0",
    storeId: EMPTY_STORE_ID,
    engine: "memory",
    durable: false,
    limits: DEFAULT_LIMITS,
    outcomeRetention: { maxAgeSeconds: 1, maxCount: 1 },
  });
  for (const method of RuntimeStoreService.methods) {
    const { path, requestStream, responseStream, responseSerialize, requestDeserialize } = grpcMethod(method);
    const answer = (_call: unknown, respond: sendUnaryData<unknown>): void => {
      whenAllowed(() => {
        if (method.name === "GetServerInfo") respond(null, info);
        else respond(refusal);
      });
    };
    const refuseStream = (call: { emit(event: "error", error: object): void }): void => {
      whenAllowed(() => {
        call.emit("error", refusal);
      });
    };
    const type = requestStream ? "clientStream" : responseStream ? "serverStream" : "unary";
    const handler = type === "serverStream" ? refuseStream : answer;
    server.register(path, handler, responseSerialize as never, requestDeserialize, type);
  }
  return {
    ...(await bindServer(server, socket)),
    arrived: () => arrived,
    silence: () => {
      waiting ??= [];
    },
    answer: () => {
      const all = waiting ?? [];
      waiting = undefined;
      for (const respond of all) respond();
    },
  };
}
