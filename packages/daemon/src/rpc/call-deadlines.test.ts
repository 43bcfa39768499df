import { type AddressInfo, createServer } from "node:net";
import { Client, Server, ServerCredentials, credentials } from "@grpc/grpc-js";
import { limitDeadlines } from "./call-deadlines.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const same = (bytes: Buffer): Buffer => bytes;

test.each([1, 23, 24.9, 30, 40, 49, 60, 400, 4000])("a call with a deadline of %d days is answered", async (days) => {
  const server = new Server();
  server.register(
    "/test/Echo",
    (call: { request: Buffer }, respond: (error: null, value: Buffer) => void) => {
      // Later than a timer whose time has passed already.
      setTimeout(respond, 20, null, call.request);
    },
    same,
    same,
    "unary",
  );
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  expect(limitDeadlines(server)).toBe(1);
  const acceptor = createServer((socket) => {
    injector.injectConnection(socket);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => acceptor.once("listening", resolve));
  const client = new Client(
    `127.0.0.1:${String((acceptor.address() as AddressInfo).port)}`,
    credentials.createInsecure(),
  );
  try {
    const response = await new Promise<Buffer>((resolve, reject) => {
      const deadline = Date.now() + days * DAY_MS;
      client.makeUnaryRequest("/test/Echo", same, same, Buffer.from("x"), { deadline }, (error, value) => {
        if (value) resolve(value);
        else reject(error ?? new Error("no response"));
      });
    });
    expect(response.toString()).toBe("x");
  } finally {
    client.close();
    acceptor.close();
    server.forceShutdown();
  }
});
