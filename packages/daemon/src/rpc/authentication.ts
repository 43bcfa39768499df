import { type ServerInterceptor, ServerInterceptingCall, ServerListenerBuilder } from "@grpc/grpc-js";
import { readFailed } from "@bolthole/contract";
import { isToken } from "../folder/token.js";
import { toStatus } from "./failure.js";

const SCHEME = /^bearer +/i;

/** Health checks tell nothing but health, so they need no token. */
const OPEN_TO_ALL = "/grpc.health.v1.Health/";

/** Refuses every call without the bearer token. */
export const requireToken =
  (token: string): ServerInterceptor =>
  (descriptor, call) => {
    if (descriptor.path.startsWith(OPEN_TO_ALL)) return new ServerInterceptingCall(call);
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        const [given] = metadata.get("authorization");
        if (typeof given === "string" && isToken(token, given.replace(SCHEME, ""))) next(metadata);
        else
          call.sendStatus(
            toStatus(
              readFailed("UNAUTHENTICATED", "this endpoint takes the bearer token of the data folder", {
                record: "authorization",
                expected: "Bearer and the content of the file token",
              }),
            ),
          );
      })
      .build();
    return new ServerInterceptingCall(call, {
      start: (next) => {
        next(listener);
      },
    });
  };
