import { setDefaultHighWaterMark } from "node:stream";
import { Server, type ServerOptions } from "@grpc/grpc-js";
import type { Config } from "./config.js";

/** Every answer stays below what clients of all languages take without being told. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * What a stream keeps of a sender that has to wait. Node's 16 messages are a whole document; grpc-js takes what is usual in the
 * process.
 */
const MESSAGES_AHEAD = 1;

/** A gRPC server with this configuration's bounds, and nothing registered yet. */
export function createGrpcServer(config: Config, options: ServerOptions): Server {
  setDefaultHighWaterMark(true, MESSAGES_AHEAD);
  return new Server({
    "grpc.max_receive_message_length": config.maxRequestSize,
    "grpc.max_send_message_length": MAX_ANSWER_BYTES,
    "grpc.max_concurrent_streams": config.maxStreams,
    "grpc.enable_channelz": 0,
    ...options,
  });
}
