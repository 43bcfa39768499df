import { chmodSync, existsSync, rmSync } from "node:fs";
import { type AddressInfo, type ListenOptions, type Socket, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Server, ServerCredentials } from "@grpc/grpc-js";
import { EXIT, StartupError } from "./exit-code.js";

const LAST_MESSAGE_MS = 250;

/** One way in: a gRPC server behind a listening socket that is ours, so that its connections can be bounded. */
export class Listener {
  private readonly sockets = new Set<Socket>();
  private emptied: Promise<void> | undefined;

  private constructor(
    /** As a gRPC client takes it. */
    readonly target: string,
    private readonly server: Server,
    private readonly acceptor: ReturnType<typeof createServer>,
  ) {}

  get connections(): number {
    return this.sockets.size;
  }

  static async onSocket(path: string, server: Server, maxConnections: number): Promise<Listener> {
    if (existsSync(path)) {
      // The folder's lock is ours, so nobody of ours listens here; what a crash left is removed, a live one never.
      if (await answers(path)) throw new StartupError(EXIT.ADDRESS, `socket ${path} is in use by another process`);
      rmSync(path);
    }
    const listener = await Listener.open({ path }, () => `unix:${path}`, server, maxConnections);
    chmodSync(path, 0o600);
    return listener;
  }

  static onTcp(host: string, port: number, server: Server, maxConnections: number): Promise<Listener> {
    const target = (bound: AddressInfo): string =>
      `${bound.family === "IPv6" ? `[${bound.address}]` : bound.address}:${String(bound.port)}`;
    return Listener.open({ host, port }, target, server, maxConnections);
  }

  private static open(
    where: ListenOptions,
    targetOf: (bound: AddressInfo) => string,
    server: Server,
    maxConnections: number,
  ): Promise<Listener> {
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    const acceptor = createServer({ noDelay: true });
    acceptor.maxConnections = maxConnections;
    return new Promise((resolve, reject) => {
      acceptor.once("error", (error: NodeJS.ErrnoException) => {
        const place = where.path ?? `${String(where.host)}:${String(where.port)}`;
        reject(new StartupError(EXIT.ADDRESS, `cannot listen on ${place} (${String(error.code)})`, error));
      });
      acceptor.listen(where, () => {
        const listener = new Listener(targetOf(acceptor.address() as AddressInfo), server, acceptor);
        acceptor.on("connection", (socket) => {
          listener.sockets.add(socket);
          socket.once("close", () => listener.sockets.delete(socket));
          injector.injectConnection(socket);
        });
        resolve(listener);
      });
    });
  }

  /** Takes no new connections or calls; those under way go on. */
  stopAccepting(): void {
    this.acceptor.close();
    this.emptied ??= new Promise((resolve) => {
      this.server.tryShutdown(() => {
        resolve();
      });
    });
  }

  /** Ends what is left: streams that only watch, after a moment for their last message. */
  async close(): Promise<void> {
    this.stopAccepting();
    await Promise.race([this.emptied, sleep(LAST_MESSAGE_MS)]);
    this.server.forceShutdown();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Whether somebody listens on the socket. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => {
      resolve(false);
    });
  });
