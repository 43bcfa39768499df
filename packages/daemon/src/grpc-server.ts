import { type AddressInfo, type ListenOptions, type Server as NetServer, type Socket, createServer } from "node:net";
import { setDefaultHighWaterMark } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { Config } from "./config.js";
import { EXIT, StartupError } from "./exit-code.js";
import type { SocketFile } from "./folder/socket-file.js";
import { limitDeadlines, limitHeaders } from "./rpc/http2-limits.js";
import { largestMessage, streamsOfConnection } from "./rpc/method-limits.js";
import type { ConnectionPlaces } from "./rpc/connection-places.js";
import { PACED_SOCKETS } from "./rpc/paced-socket.js";
import type { ListenerRules, StreamGuard } from "./rpc/stream-guard.js";

/**
 * The size of a response message is not limited here: a stored input row must be loadable whatever the present limits are.
 * Only the messages with a long row are larger than 4 MiB, which gRPC clients accept without configuration.
 */
const UNLIMITED = -1;

/**
 * The number of messages that an object stream buffers. With Node's default of 16, one waiting sender buffers a whole document. grpc-js
 * has no option for this and uses the default of the process.
 */
const BUFFERED_MESSAGES = 1;

/** The time that a closing listener waits for the last messages of streams, such as the health status of a watcher. */
const LAST_MESSAGE_MS = 250;

type ConnectionInjector = ReturnType<Server["createConnectionInjector"]>;

/** Returns a gRPC server with the limits of the configuration and no services. */
export function createGrpcServer(config: Config): Server {
  setDefaultHighWaterMark(true, BUFFERED_MESSAGES);
  return new Server({
    // StreamGuard refuses too large messages of each method earlier.
    "grpc.max_receive_message_length": largestMessage(config),
    "grpc.max_send_message_length": UNLIMITED,
    "grpc.max_concurrent_streams": streamsOfConnection(config),
    "grpc.enable_channelz": 0,
  });
}

/**
 * A gRPC server on one listening socket. The socket is opened here, and not by grpc-js, so that connections can be limited, and so that
 * a unix socket can be made again.
 */
export class Listener {
  private readonly sockets = new Set<Socket>();
  private readonly injector: ConnectionInjector;
  private readonly places: ConnectionPlaces;
  private acceptor: NetServer | undefined;
  private isStopping = false;
  private callsEnded: Promise<void> | undefined;
  /** The address in the form that gRPC clients accept. */
  target = "";

  private constructor(
    private readonly server: Server,
    private readonly guard: StreamGuard,
    rules: ListenerRules,
    private readonly file?: SocketFile,
  ) {
    this.injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    limitDeadlines(server);
    limitHeaders(server);
    this.places = guard.guard(server, rules);
  }

  get connections(): number {
    return this.sockets.size;
  }

  static async onSocket(file: SocketFile, server: Server, guard: StreamGuard, rules: ListenerRules): Promise<Listener> {
    await file.prepare();
    const listener = new Listener(server, guard, rules, file);
    listener.target = `unix:${file.path}`;
    await listener.listenOnSocket(file);
    return listener;
  }

  static async onTcp(
    host: string,
    port: number,
    server: Server,
    guard: StreamGuard,
    rules: ListenerRules,
  ): Promise<Listener> {
    const listener = new Listener(server, guard, rules);
    listener.acceptor = await listener.accept({ host, port }, `${host}:${String(port)}`);
    const { address, family, port: bound } = listener.acceptor.address() as AddressInfo;
    listener.target = `${family === "IPv6" ? `[${address}]` : address}:${String(bound)}`;
    return listener;
  }

  /**
   * Makes the file of the unix socket again if it was removed. Connections are not affected. Returns "foreign" when something else is at
   * its path, which stays there.
   */
  async renewSocket(): Promise<"ours" | "renewed" | "foreign"> {
    const { file, acceptor } = this;
    if (!file || this.isStopping) return "ours";
    const state = file.state();
    if (state !== "missing") return state;
    file.prepareAgain();
    await this.listenOnSocket(file);
    acceptor?.close();
    return "renewed";
  }

  /** Accepts no more connections or calls. Calls in progress continue. */
  stopAccepting(): void {
    if (!this.isStopping) {
      this.isStopping = true;
      this.acceptor?.close();
      this.file?.remove();
    }
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
    // The connections first: a lost connection is UNAVAILABLE. grpc-js would end its calls as CANCELLED, as if their callers had.
    for (const socket of this.sockets) socket.destroy();
    this.server.forceShutdown();
  }

  private async listenOnSocket(file: SocketFile): Promise<void> {
    const acceptor = await this.accept({ path: file.bindPath }, file.path);
    try {
      file.publish();
    } catch (error) {
      acceptor.close();
      throw error;
    }
    this.acceptor = acceptor;
    if (!this.isStopping) return;
    // The stop began while the socket was made again.
    acceptor.close();
    file.remove();
  }

  private accept(where: ListenOptions, address: string): Promise<NetServer> {
    const acceptor = createServer(PACED_SOCKETS, (socket) => {
      if (!this.places.makeRoom()) {
        socket.destroy();
        return;
      }
      this.sockets.add(socket);
      socket.once("close", () => this.sockets.delete(socket));
      this.guard.connect(socket, (stream) => {
        this.injector.injectConnection(stream);
      });
    });
    return new Promise((resolve, reject) => {
      // Also called for a connection that could not be accepted later, which affects that connection alone.
      acceptor.on("error", (error: NodeJS.ErrnoException) => {
        const text = `cannot listen on ${address} (${String(error.code)}); choose another address`;
        reject(new StartupError(EXIT.ADDRESS, text, error));
      });
      acceptor.listen(where, () => {
        resolve(acceptor);
      });
    });
  }
}
