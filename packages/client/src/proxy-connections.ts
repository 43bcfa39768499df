import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { ClientRequest } from "node:http";
import type { Target } from "./target.js";

/** The channel on which Node publishes every HTTP request that is sent. */
const REQUESTS = "http.client.request.start";

/**
 * Lets the process end while grpc-js waits for an HTTP proxy of the environment. grpc-js asks the proxy with a request of its own, which
 * has no time limit and which the close of the channel does not end: a proxy that accepts and stays silent would keep the process running
 * for ever, long after its call was rejected. While a call waits, its own timer keeps the process running.
 *
 * The request is not ended: channels to the same target share it. Returns the function that ends the watch.
 */
export function releaseProxyConnections({ host, port }: Target): () => void {
  const destination = `${host ?? ""}:${String(port)}`;
  const onRequest = (message: unknown): void => {
    const { request } = message as { readonly request: ClientRequest };
    if (request.method !== "CONNECT" || request.path !== destination) return;
    // Node 20 publishes the request when it is sent, so that it has its socket.
    if (request.socket) request.socket.unref();
    else request.once("socket", (socket) => socket.unref());
  };
  subscribe(REQUESTS, onRequest);
  return () => {
    unsubscribe(REQUESTS, onRequest);
  };
}
