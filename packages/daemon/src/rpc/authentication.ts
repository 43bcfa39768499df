import { timingSafeEqual } from "node:crypto";
import { type ServerInterceptor, ServerInterceptingCall, ServerListenerBuilder } from "@grpc/grpc-js";
import { readFailed } from "@bolthole/contract";
import { toStatus } from "./failure.js";

const SCHEME = /^bearer +/i;

/** Health checks reveal nothing except health, so they need no token. */
const WITHOUT_TOKEN = "/grpc.health.v1.Health/";

/** Returns an interceptor that refuses every call without the bearer token, before the request message is read. */
export const requireToken =
  (token: string): ServerInterceptor =>
  (descriptor, call) => {
    if (descriptor.path.startsWith(WITHOUT_TOKEN)) return new ServerInterceptingCall(call);
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        const [given] = metadata.get("authorization");
        if (typeof given === "string" && isToken(token, given.replace(SCHEME, ""))) next(metadata);
        else call.sendStatus(toStatus(unauthenticated()));
      })
      .build();
    return new ServerInterceptingCall(call, {
      start: (next) => {
        next(listener);
      },
    });
  };

const unauthenticated = (): ReturnType<typeof readFailed> =>
  readFailed("UNAUTHENTICATED", "the bearer token is missing or wrong; send the content of the file token", {
    record: "authorization",
    expected: "Bearer and the content of the file token in the data folder",
  });

/** Compares in constant time, so that the duration does not reveal where two tokens differ. */
function isToken(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
