import { type Server, ServerCredentials } from "@grpc/grpc-js";

/** A server that listens on a loopback port. */
export interface BoundServer {
  readonly target: string;
  /** Stops the server and cancels its calls. */
  readonly end: () => void;
}

/** Binds the server to a free loopback port. */
export async function bindServer(server: Server): Promise<BoundServer> {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(error);
      else resolve(port);
    });
  });
  return {
    target: `127.0.0.1:${String(port)}`,
    end: () => {
      server.forceShutdown();
    },
  };
}
