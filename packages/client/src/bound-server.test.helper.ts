import { type Server, ServerCredentials } from "@grpc/grpc-js";

/** Where a server listens on the loopback, and its end. */
export interface BoundServer {
  readonly target: string;
  readonly end: () => void;
}

export async function boundServer(server: Server): Promise<BoundServer> {
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
