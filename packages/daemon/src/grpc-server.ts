import { Server, type ServerOptions } from "@grpc/grpc-js";
import type { Config } from "./config.js";

/** Every answer stays below what clients of all languages take without being told. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** A gRPC server with this configuration's bounds, and nothing registered yet. */
export const createGrpcServer = (config: Config, options: ServerOptions): Server =>
  new Server({
    "grpc.max_receive_message_length": config.maxRequestSize,
    "grpc.max_send_message_length": MAX_ANSWER_BYTES,
    "grpc.max_concurrent_streams": config.maxStreams,
    "grpc.enable_channelz": 0,
    ...options,
  });
