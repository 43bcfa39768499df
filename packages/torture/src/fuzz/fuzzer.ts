import { AdminService, RuntimeStoreService, grpcMethod } from "@bolthole/contract/wire";
import { framed } from "@bolthole/conformance/http2-frames";
import type { Random } from "../random.js";
import { Counter, type Violations } from "../run.js";
import { mutated } from "./mutation.js";
import { RawClient, type RawResponse } from "./raw-http2.js";
import { type FuzzCall, Seeds } from "./requests.js";

const NAMES = (
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED " +
  "FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split(" ");

/** The gRPC status by its name, or the HTTP status when there was none. */
const nameOf = ({ status, httpStatus }: Pick<RawResponse, "status" | "httpStatus">): string =>
  status === undefined ? `HTTP ${String(httpStatus)}` : (NAMES[status] ?? String(status));

const OK = 0;
const UNKNOWN = 2;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
const UNAUTHENTICATED = 16;

/** The code that responds to a request. It determines which responses are allowed. */
type Responder =
  /** The request is framed correctly and names one of our RPCs, so our code responds. */
  | "ours"
  /** The same, for the health and reflection services, which libraries serve. */
  | "library"
  /** The frame or the headers are broken, so grpc-js responds before our code sees the request. */
  | "broken"
  /** The request arrives over TCP without a token. */
  | "unauthenticated";

/** Texts of INTERNAL responses that grpc-js and the libraries on it may send. */
const LIBRARY_INTERNAL = [/^Error(%20| )deserializing(%20| )request/];

/** Returns the problem of a response; undefined when the response is allowed. */
function problemOf(responder: Responder, response: RawResponse): string | undefined {
  const { status, text, hasDetails, httpStatus } = response;
  const said = `${nameOf(response)} ${text.slice(0, 200)}`;
  switch (responder) {
    case "ours":
      if (status === undefined) return `the response has no gRPC status (HTTP ${String(httpStatus)})`;
      if (status === INTERNAL || status === UNKNOWN) return `the response was ${said}`;
      // Our refusals have details. Only grpc-js's refusals of large messages have none.
      if (status !== OK && !hasDetails && status !== RESOURCE_EXHAUSTED) return `the response has no details: ${said}`;
      return undefined;
    case "library":
      if (status === undefined) return `the response has no gRPC status (HTTP ${String(httpStatus)})`;
      if (status === UNKNOWN) return `the response was ${said}`;
      if (status === INTERNAL && !LIBRARY_INTERNAL.some((form) => form.test(text))) return `the response was ${said}`;
      return undefined;
    case "broken":
      return status === UNKNOWN || status === OK ? `the response to a broken call was ${said}` : undefined;
    case "unauthenticated":
      return status === UNAUTHENTICATED || status === UNIMPLEMENTED
        ? undefined
        : `a call without a token returned ${said}`;
  }
}

interface Break {
  readonly frame?: (message: Buffer) => Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
  /** The allowed responses: gRPC statuses, or an HTTP status when grpc-js does not accept the call as gRPC. */
  readonly responses: readonly string[];
}

/** The responses of our code to a call that reaches it. */
const OURS = ["OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED"];

/** Calls that grpc-js refuses or repairs before our code sees them. */
const BREAKS: Readonly<Record<string, Break>> = {
  "no message": { frame: () => Buffer.alloc(0), responses: ["UNIMPLEMENTED"] },
  "half a frame header": { frame: () => Buffer.alloc(3), responses: ["UNIMPLEMENTED"] },
  "fewer bytes than announced": {
    frame: (message) => framed(message, 0, message.length + 10),
    responses: ["UNIMPLEMENTED"],
  },
  "a frame of 4 GiB": { frame: (message) => framed(message, 0, 0xffffffff), responses: ["INVALID_ARGUMENT"] },
  "two messages": {
    frame: (message) => Buffer.concat([framed(message), framed(message)]),
    responses: ["UNIMPLEMENTED"],
  },
  "compressed flag without an encoding": { frame: (message) => framed(message, 1), responses: ["UNIMPLEMENTED"] },
  "bytes that are not gzip": {
    frame: (message) => framed(message, 1),
    headers: { "grpc-encoding": "gzip" },
    responses: ["UNIMPLEMENTED"],
  },
  "an unknown encoding": {
    frame: (message) => framed(message, 1),
    headers: { "grpc-encoding": "zip" },
    responses: ["UNIMPLEMENTED"],
  },
  "another content type": { headers: { "content-type": "application/json" }, responses: ["HTTP 415"] },
  "an invalid timeout": { headers: { "grpc-timeout": "soon" }, responses: ["INTERNAL"] },
  "a timeout of zero": { headers: { "grpc-timeout": "0n" }, responses: ["DEADLINE_EXCEEDED", ...OURS] },
  "an unknown RPC": { path: "/bolthole.v1.RuntimeStoreService/Nothing", responses: ["UNIMPLEMENTED"] },
  "an unknown service": { path: "/bolthole.v2.Store/AtomicApply", responses: ["UNIMPLEMENTED"] },
  "an empty path": { path: "/", responses: ["UNIMPLEMENTED"] },
};

interface BrokenCallResult {
  readonly name: string;
  readonly response: string;
  readonly isExpected: boolean;
}

/** Sends a call of ours with a broken frame, header or path. */
async function breakCall(client: RawClient, call: FuzzCall, random: Random): Promise<BrokenCallResult> {
  const [name, { frame = framed, headers = {}, path = call.path, responses }] = random.pick(
    Object.entries(BREAKS) as [[string, Break]],
  );
  const response = nameOf(await client.call(path, frame(call.message), { headers }));
  return { name, response, isExpected: responses.includes(response) };
}

/** Several connections, because the calls of one connection share its window of 64 KiB, which delays large requests. */
const CONNECTIONS = 16;
const AT_ONCE = 192;
/** One request in this number is sent unchanged, to show that the mutated ones start from valid requests. */
const VALID_ONE_IN = 10;
const MOST_PROBLEMS = 20;
/** An RPC that accepts none of the valid requests of this many rounds will not accept any. */
const MOST_ROUNDS = 3;

/** RPCs with a request stream. A second message, or a stream that ends early, is valid there. */
const TAKES_PARTS = new Set(
  [...RuntimeStoreService.methods, ...AdminService.methods]
    .filter(({ methodKind }) => methodKind === "client_streaming")
    .map((method) => grpcMethod(method).path),
);

/** Returns a message in its frame, and the other messages of the request after it. */
const withRest = ({ rest = Buffer.alloc(0) }: FuzzCall, message: Buffer): Buffer =>
  Buffer.concat([framed(message), rest]);

/** Sends mutated requests and checks every response. */
export class Fuzzer {
  readonly statuses = new Counter();
  readonly broken = new Counter();
  readonly unauthenticated = new Counter();
  /** RPCs that accepted a request as valid. */
  readonly accepted = new Counter();
  readonly seeds: Seeds;
  private readonly clients: readonly RawClient[];

  constructor(
    socket: string,
    private readonly tcp: { readonly host: string; readonly port: number },
    private readonly violations: Violations,
    private readonly random: Random,
  ) {
    this.seeds = new Seeds(random);
    this.clients = Array.from({ length: CONNECTIONS }, () => new RawClient({ path: socket }));
  }

  /** Sends mutated requests, and some valid ones. */
  requests(count: number): Promise<void> {
    return this.together(count, async (index) => {
      const call = this.seeds.next();
      const isValid = this.random.oneIn(VALID_ONE_IN);
      const message = isValid ? call.message : mutated(call.message, this.seeds.next().message, this.random);
      const response = await this.client(index).call(call.path, withRest(call, message), call);
      const by = call.isOurs ? "" : " by a library";
      this.statuses.add(`${nameOf(response)}${response.status === INTERNAL ? by : ""}`);
      if (response.status === 0) this.accepted.add(call.path);
      this.judge(call.isOurs ? "ours" : "library", { ...call, message }, response);
    });
  }

  /**
   * Sends valid requests one after the other until each RPC has accepted one. During a flood some RPCs may accept none: they
   * allow one call at a time, or need a record that an earlier call stores.
   */
  async requestsInOrder(): Promise<void> {
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      for (const call of this.seeds.inOrder()) {
        if (Seeds.paths.every((path) => this.accepted.has(path))) return;
        const response = await this.client(0).call(call.path, withRest(call, call.message), call);
        if (response.status === 0) this.accepted.add(call.path);
        this.judge(call.isOurs ? "ours" : "library", call, response);
      }
    }
  }

  /** Sends calls with a valid message in a broken frame, header or path. */
  brokenCalls(count: number): Promise<void> {
    return this.together(count, async (index) => {
      let call = this.seeds.next();
      while (!call.isOurs || TAKES_PARTS.has(call.path)) call = this.seeds.next();
      const { name, response, isExpected } = await breakCall(this.client(index), call, this.random);
      this.broken.add(`${name}: ${response}`);
      if (!isExpected) this.problem(call, `${name}: the response was ${response}`);
    });
  }

  /** Sends calls over TCP without a token, each on a connection of its own: a connection with several of them is closed. */
  unauthenticatedCalls(count: number): Promise<void> {
    return this.together(count, async () => {
      const call = this.seeds.next();
      const client = new RawClient(this.tcp);
      const response = await client.call(call.path, withRest(call, call.message), call);
      client.close();
      this.unauthenticated.add(nameOf(response));
      this.judge(call.path.startsWith("/grpc.health.v1.") ? "library" : "unauthenticated", call, response);
    });
  }

  close(): void {
    for (const client of this.clients) client.close();
  }

  private client(index: number): RawClient {
    return this.clients[index % this.clients.length] as RawClient;
  }

  private async together(count: number, act: (index: number) => Promise<void>): Promise<void> {
    let begun = 0;
    const worker = async (): Promise<void> => {
      while (begun < count && this.violations.all.length < MOST_PROBLEMS) await act(begun++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  private judge(responder: Responder, call: FuzzCall, response: RawResponse): void {
    const problem = problemOf(responder, response);
    if (problem !== undefined) this.problem(call, problem);
  }

  private problem({ path, message }: FuzzCall, what: string): void {
    this.violations.add(
      "correct responses",
      path,
      `${what}; the request in base64: ${message.toString("base64").slice(0, 4000)}`,
    );
  }
}
