import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type Http2Server, type ServerHttp2Stream, connect, createServer } from "node:http2";
import { type Server, type Socket, connect as connectSocket, createServer as createRelay } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cutOff } from "./cut-off.js";

const WINDOW = 16 << 20;

let folder: string;
let server: Http2Server;
let relay: Server;
/** The connection of the relay to the server, from which a test may stop reading. */
let toServer: Socket | undefined;
const streams: ServerHttp2Stream[] = [];
const closers: (() => void)[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-cut-"));
  server = createServer().on("stream", (stream) => {
    stream.on("error", () => undefined);
    stream.respond();
    streams.push(stream);
  });
  server.listen(join(folder, "server"));
  relay = createRelay((client) => {
    const other = (toServer = connectSocket(join(folder, "server")));
    for (const socket of [client, other]) {
      socket.on("error", () => undefined);
      closers.push(() => socket.destroy());
    }
    client.pipe(other);
    other.on("data", (bytes) => client.write(bytes));
    other.on("close", () => client.destroy());
  });
  relay.listen(join(folder, "relay"));
  await Promise.all([once(server, "listening"), once(relay, "listening")]);
});
afterEach(() => {
  for (const close of closers.splice(0)) close();
  relay.close();
  server.close();
  streams.length = 0;
  rmSync(folder, { recursive: true, force: true });
});

async function openStream(): Promise<ServerHttp2Stream> {
  const session = connect("http://localhost", {
    createConnection: () => connectSocket(join(folder, "relay")),
    settings: { initialWindowSize: WINDOW },
  });
  closers.push(() => {
    session.destroy();
  });
  session
    .on("error", () => undefined)
    .on("remoteSettings", () => {
      session.setLocalWindowSize(WINDOW);
    });
  const stream = session.request({ ":path": "/" }, { endStream: false });
  stream.on("error", () => undefined).resume();
  await once(stream, "response");
  return streams[0] as ServerHttp2Stream;
}

test("a call is closed, and its connection goes on", async () => {
  const stream = await openStream();
  const { session } = stream;
  cutOff(stream);
  await once(stream, "close");
  await sleep(2_500);
  expect(session?.destroyed).toBe(false);
  session?.destroy();
});

test("the connection of a client that does not read its socket is destroyed", async () => {
  const stream = await openStream();
  const { session } = stream;
  toServer?.pause();
  for (let written = 0; written < WINDOW / 2; written += 1 << 20) stream.write(Buffer.alloc(1 << 20));
  await sleep(100);
  cutOff(stream);
  await once(stream, "close");
  expect(session?.destroyed).toBe(true);
});
