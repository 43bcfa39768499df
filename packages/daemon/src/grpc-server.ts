import { chmodSync, existsSync, rmSync } from "node:fs";
import { type AddressInfo, type ListenOptions, type Socket, connect, createServer } from "node:net";
import { setDefaultHighWaterMark } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";
import type { Config } from "./config.js";
import { EXIT, StartupError } from "./exit-code.js";
import { limitDeadlines } from "./rpc/call-deadlines.js";

/**
 * The size of a response message is not limited here: a stored input row must be loadable whatever the present limits are.
 * Only the messages with a long row are larger than 4 MiB, which gRPC clients accept without configuration.
 */
const UNLIMITED = -1;

/** The bytes of a message around an input row. */
const ROW_MARGIN = 64 * 1024;

/**
 * The number of messages that an object stream buffers. With Node's default of 16, one waiting sender buffers a whole document. grpc-js
 * has no option for this and uses the default of the process.
 */
const BUFFERED_MESSAGES = 1;

/** The time that a closing listener waits for the last messages of streams, such as the health status of a watcher. */
const LAST_MESSAGE_MS = 250;

/** Returns a gRPC server with the limits of the configuration and no services. */
export function createGrpcServer(config: Config, options: ServerOptions): Server {
  setDefaultHighWaterMark(true, BUFFERED_MESSAGES);
  return new Server({
    // An import has each input row in one message, also a row that is longer than a request may be.
    "grpc.max_receive_message_length": Math.max(config.maxRequestSize, config.maxInputRowSize + ROW_MARGIN),
    "grpc.max_send_message_length": UNLIMITED,
    "grpc.max_concurrent_streams": config.maxStreams,
    "grpc.enable_channelz": 0,
    ...options,
  });
}

/** A gRPC server on one listening socket. The socket is opened here, and not by grpc-js, so that connections can be limited. */
export class Listener {
  private readonly sockets = new Set<Socket>();
  private callsEnded: Promise<void> | undefined;

  private constructor(
    /** The address in the form that gRPC clients accept. */
    readonly target: string,
    private readonly server: Server,
    private readonly acceptor: ReturnType<typeof createServer>,
  ) {}

  get connections(): number {
    return this.sockets.size;
  }

  static async onSocket(path: string, server: Server, maxConnections: number): Promise<Listener> {
    if (existsSync(path)) {
      // This process has locked the folder, so the socket was left by a crash, or it belongs to another program and is not removed.
      if (await isListening(path)) {
        throw new StartupError(EXIT.ADDRESS, `socket ${path} is in use by another process; stop that process`);
      }
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
    limitDeadlines(server);
    const acceptor = createServer({ noDelay: true });
    acceptor.maxConnections = maxConnections;
    return new Promise((resolve, reject) => {
      acceptor.once("error", (error: NodeJS.ErrnoException) => {
        const address = where.path ?? `${String(where.host)}:${String(where.port)}`;
        reject(
          new StartupError(
            EXIT.ADDRESS,
            `cannot listen on ${address} (${String(error.code)}); choose another address`,
            error,
          ),
        );
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

  /** Accepts no more connections or calls. Calls in progress continue. */
  stopAccepting(): void {
    this.acceptor.close();
    this.callsEnded ??= new Promise((resolve) => {
      this.server.tryShutdown(() => {
        resolve();
      });
    });
  }

  /** Closes all connections. Open streams, such as health watches, have LAST_MESSAGE_MS to send their last message. */
  async close(): Promise<void> {
    this.stopAccepting();
    await Promise.race([this.callsEnded, sleep(LAST_MESSAGE_MS)]);
    this.server.forceShutdown();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Returns whether a process listens on the socket. */
const isListening = (path: string): Promise<boolean> =>
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
