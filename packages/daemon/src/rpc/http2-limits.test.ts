import { once } from "node:events";
import { type ClientHttp2Session, type IncomingHttpHeaders, connect, constants } from "node:http2";
import { type AddressInfo, type Server as Acceptor, createServer } from "node:net";
import { Client, Metadata, Server, ServerCredentials, credentials, status } from "@grpc/grpc-js";
import { MAX_HEADER_BYTES, limitDeadlines, limitHeaders } from "./http2-limits.js";

const METHOD = "/test/Echo";
const DAY_MS = 24 * 60 * 60 * 1000;
const same = (bytes: Buffer): Buffer => bytes;

let server: Server;
let acceptor: Acceptor;
let port: number;
/** Answers the call that waits. */
let answer: () => void;
let waiting: Promise<void>;

beforeEach(async () => {
  server = new Server();
  let arrived: () => void = () => undefined;
  waiting = new Promise((resolve) => {
    arrived = resolve;
  });
  server.register(
    METHOD,
    (call: { request: Buffer }, respond: (error: null, value: Buffer) => void) => {
      answer = () => {
        respond(null, call.request);
      };
      const text = call.request.toString();
      if (text === "wait") arrived();
      // Later than a timer whose time has passed already.
      else if (text === "late") setTimeout(answer, 20);
      else answer();
    },
    same,
    same,
    "unary",
  );
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  expect([limitHeaders(server), limitDeadlines(server)]).toEqual([1, 1]);
  acceptor = createServer((socket) => {
    injector.injectConnection(socket);
  }).listen(0, "127.0.0.1");
  await once(acceptor, "listening");
  ({ port } = acceptor.address() as AddressInfo);
});
afterEach(() => {
  acceptor.close();
  server.forceShutdown();
});

interface Ended {
  readonly status: unknown;
  /** The text of the status, unless the stream ended without one. */
  readonly message?: string;
  readonly resetCode: number | undefined;
}

/** Sends a request with more headers, and resolves when its stream has ended. */
function send(session: ClientHttp2Session, text: string, more: Readonly<Record<string, string>>): Promise<Ended> {
  const headers = { ":method": "POST", ":path": METHOD, "content-type": "application/grpc", te: "trailers", ...more };
  const stream = session.request(headers);
  let grpcStatus: unknown;
  let message: string | undefined;
  const note = (received: IncomingHttpHeaders): void => {
    grpcStatus = received["grpc-status"] ?? grpcStatus;
    const text = received["grpc-message"];
    if (typeof text === "string") message = decodeURIComponent(text);
  };
  stream.on("response", note).on("trailers", note);
  stream.on("error", () => undefined);
  const body = Buffer.from(text);
  const length = Buffer.alloc(5);
  length.writeUInt32BE(body.length, 1);
  stream.end(Buffer.concat([length, body]));
  stream.resume();
  return new Promise((resolve) => {
    stream.once("close", () => {
      const withText = grpcStatus !== "0" && message !== undefined ? { message } : {};
      resolve({ status: grpcStatus, resetCode: stream.rstCode, ...withText });
    });
  });
}

test.each([
  ["one header", { a: "x".repeat(MAX_HEADER_BYTES) }],
  ["several headers", Object.fromEntries(["a", "b", "c", "d", "e"].map((name) => [name, "x".repeat(3_500)]))],
])(
  "a request with too large headers is refused alone, and the calls of its connection go on: %s",
  async (_name, more) => {
    const session = connect(`http://127.0.0.1:${String(port)}`, { maxSendHeaderBlockLength: 1 << 20 });
    const goaway = jest.fn();
    session.on("goaway", goaway);
    try {
      const [settings] = (await once(session, "remoteSettings")) as [{ maxHeaderListSize?: number }];
      expect(settings.maxHeaderListSize).toBe(MAX_HEADER_BYTES);
      const other = send(session, "wait", {});
      await waiting;
      const refused = await send(session, "large", more);
      expect(refused).toEqual({ status: undefined, resetCode: constants.NGHTTP2_ENHANCE_YOUR_CALM });
      answer();
      expect(await other).toEqual({ status: "0", resetCode: constants.NGHTTP2_NO_ERROR });
      expect(await send(session, "next", { a: "x".repeat(MAX_HEADER_BYTES / 2) })).toMatchObject({ status: "0" });
      expect(goaway).not.toHaveBeenCalled();
    } finally {
      session.destroy();
    }
  },
);

test("a gRPC client gets RESOURCE_EXHAUSTED for too large metadata", async () => {
  const client = new Client(`127.0.0.1:${String(port)}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("a", "x".repeat(MAX_HEADER_BYTES));
  try {
    const code = await new Promise((resolve) => {
      client.makeUnaryRequest(METHOD, same, same, Buffer.from("x"), metadata, (error) => {
        resolve(error?.code);
      });
    });
    expect(code).toBe(status.RESOURCE_EXHAUSTED);
  } finally {
    client.close();
  }
});

test.each([1, 23, 24.9, 30, 40, 49, 60, 400, 4000])("a call with a deadline of %d days is answered", async (days) => {
  const client = new Client(`127.0.0.1:${String(port)}`, credentials.createInsecure());
  try {
    const response = await new Promise<Buffer>((resolve, reject) => {
      const deadline = Date.now() + days * DAY_MS;
      client.makeUnaryRequest(METHOD, same, same, Buffer.from("late"), { deadline }, (error, value) => {
        if (value) resolve(value);
        else reject(error ?? new Error("no response"));
      });
    });
    expect(response.toString()).toBe("late");
  } finally {
    client.close();
  }
});

describe("the header grpc-timeout", () => {
  let session: ClientHttp2Session;
  beforeEach(() => {
    session = connect(`http://127.0.0.1:${String(port)}`);
  });
  afterEach(() => {
    session.destroy();
  });

  test.each([
    "-1S",
    "123456789S",
    "99999999999999999999S",
    "5",
    "S",
    "5x",
    "1.5S",
    "1e9S",
    "+5S",
    "5 S",
    "0x5S",
    "5S,5S",
  ])("%p is refused, and the connection goes on", async (timeout) => {
    const { status: found, message } = await send(session, "text", { "grpc-timeout": timeout });
    expect([found, message]).toEqual(["13", expect.stringContaining("Invalid grpc-timeout value")]);
    expect(await send(session, "next", { "grpc-timeout": "99999999H" })).toMatchObject({ status: "0" });
  });

  // The call may be answered before its time limit is looked at.
  test.each(["0S", "0n", "1n"])("%p ends the call or lets it be answered", async (timeout) => {
    expect(["0", String(status.DEADLINE_EXCEEDED)]).toContain(
      (await send(session, "text", { "grpc-timeout": timeout })).status,
    );
    expect(await send(session, "next", { "grpc-timeout": "8M" })).toMatchObject({ status: "0" });
  });
});
