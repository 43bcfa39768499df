import { type Server, ServerCredentials } from "@grpc/grpc-js";

/** A server that listens on a loopback port, or on a unix socket. */
export interface BoundServer {
  readonly target: string;
  /** Stops the server and cancels its calls. */
  readonly end: () => void;
}

/** Binds the server to a unix socket, or to a free loopback port. */
export async function bindServer(server: Server, socket?: string): Promise<BoundServer> {
  const address = socket === undefined ? "127.0.0.1:0" : `unix:${socket}`;
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(error);
      else resolve(port);
    });
  });
  return {
    target: socket === undefined ? `127.0.0.1:${String(port)}` : address,
    end: () => {
      server.forceShutdown();
    },
  };
}
