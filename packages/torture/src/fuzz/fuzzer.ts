import { AdminService, RuntimeStoreService, grpcMethod } from "@bolthole/contract/wire";
import type { Random } from "../random.js";
import { Counter, type Violations } from "../run.js";
import { mutated } from "./mutation.js";
import { RawClient, type RawResponse, framed } from "./raw-http2.js";
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

/** Who responses a request, and so what it may response. */
type Responder =
  /** It is framed as gRPC asks and names one of our RPCs: our code responses. */
  | "ours"
  /** The same, for the health and reflection services, which libraries serve. */
  | "library"
  /** Its frame or its headers are broken: grpc-js responses before anybody sees it. */
  | "broken"
  /** It comes over TCP without a token. */
  | "stranger";

/** What grpc-js and the libraries on top of it say by themselves, beside statuses that any daemon gives. */
const LIBRARY_INTERNAL = [/^Error(%20| )deserializing(%20| )request/];

/** What is wrong with a response, if anything is. */
function problemOf(responder: Responder, response: RawResponse): string | undefined {
  const { status, text, hasDetails, httpStatus } = response;
  const said = `${nameOf(response)} ${text.slice(0, 200)}`;
  switch (responder) {
    case "ours":
      if (status === undefined) return `no status came (HTTP ${String(httpStatus)})`;
      if (status === INTERNAL || status === UNKNOWN) return `answered ${said}`;
      // Refusals of ours have details; grpc-js speaks for itself only about size.
      if (status !== OK && !hasDetails && status !== RESOURCE_EXHAUSTED) return `answered without details: ${said}`;
      return undefined;
    case "library":
      if (status === undefined) return `no status came (HTTP ${String(httpStatus)})`;
      if (status === UNKNOWN) return `answered ${said}`;
      if (status === INTERNAL && !LIBRARY_INTERNAL.some((form) => form.test(text))) return `answered ${said}`;
      return undefined;
    case "broken":
      return status === UNKNOWN || status === OK ? `a broken call was answered ${said}` : undefined;
    case "stranger":
      return status === UNAUTHENTICATED || status === UNIMPLEMENTED ? undefined : `a stranger was answered ${said}`;
  }
}

interface Break {
  readonly frame?: (message: Buffer) => Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
  /** What grpc-js responses by itself: gRPC statuses, or an HTTP status where it takes the call for none of its own. */
  readonly responses: readonly string[];
}

/** Whatever our code says to a call that got through. */
const OURS = ["OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED"];

/** Calls that grpc-js turns away, or puts right, before our code sees them. */
const BREAKS: Readonly<Record<string, Break>> = {
  "no message": { frame: () => Buffer.alloc(0), responses: ["UNIMPLEMENTED"] },
  "half a frame head": { frame: () => Buffer.alloc(3), responses: ["UNIMPLEMENTED"] },
  "less than the head says": {
    frame: (message) => framed(message, 0, message.length + 10),
    responses: ["UNIMPLEMENTED"],
  },
  "a frame of 4 GiB": { frame: (message) => framed(message, 0, 0xffffffff), responses: ["RESOURCE_EXHAUSTED"] },
  "two messages": { frame: (message) => Buffer.concat([framed(message), framed(message)]), responses: ["UNIMPLEMENTED"] },
  // It is read as it stands.
  "compressed without a name": { frame: (message) => framed(message, 1), responses: OURS },
  "not what gzip makes": {
    frame: (message) => framed(message, 1),
    headers: { "grpc-encoding": "gzip" },
    responses: ["INTERNAL"],
  },
  "an encoding nobody has": {
    frame: (message) => framed(message, 1),
    headers: { "grpc-encoding": "zip" },
    responses: ["UNIMPLEMENTED"],
  },
  "another content type": { headers: { "content-type": "application/json" }, responses: ["HTTP 415"] },
  "a timeout that is none": { headers: { "grpc-timeout": "soon" }, responses: ["INTERNAL"] },
  "no time at all": { headers: { "grpc-timeout": "0n" }, responses: ["DEADLINE_EXCEEDED", ...OURS] },
  "an RPC that is not there": { path: "/bolthole.v1.RuntimeStoreService/Nothing", responses: ["UNIMPLEMENTED"] },
  "a service that is not there": { path: "/bolthole.v2.Store/AtomicApply", responses: ["UNIMPLEMENTED"] },
  "a path that is none": { path: "/", responses: ["UNIMPLEMENTED"] },
};

interface BrokenCallResult {
  readonly name: string;
  readonly response: string;
  readonly isExpected: boolean;
}

/** One call of ours with something broken around its message. */
async function breakCall(client: RawClient, call: FuzzCall, random: Random): Promise<BrokenCallResult> {
  const [name, { frame = framed, headers = {}, path = call.path, responses }] = random.pick(
    Object.entries(BREAKS) as [[string, Break]],
  );
  const response = nameOf(await client.call(path, frame(call.message), { headers }));
  return { name, response, isExpected: responses.includes(response) };
}

/** Not many calls on each: they share its window of 64 KiB, in which large requests come slowly past small ones. */
const CONNECTIONS = 16;
const AT_ONCE = 192;
/** One request in so many goes out as it is, to show that the others start from valid ones. */
const VALID_ONE_IN = 10;
const MOST_PROBLEMS = 20;

/** Calls whose requests come in parts: there a second message, or a stream that ends early, is nothing broken. */
const TAKES_PARTS = new Set(
  [...RuntimeStoreService.methods, ...AdminService.methods]
    .filter(({ methodKind }) => methodKind === "client_streaming")
    .map((method) => grpcMethod(method).path),
);

/** Sends changed requests and judges every response. */
export class Fuzzer {
  readonly statuses = new Counter();
  readonly broken = new Counter();
  readonly unauthenticated = new Counter();
  /** RPCs that took a request as valid. */
  readonly accepted = new Counter();
  readonly seeds: Seeds;
  private readonly clients: readonly RawClient[];
  private readonly unauthenticatedClient: RawClient;

  constructor(
    socket: string,
    tcp: { readonly host: string; readonly port: number },
    private readonly violations: Violations,
    private readonly random: Random,
  ) {
    this.seeds = new Seeds(random);
    this.clients = Array.from({ length: CONNECTIONS }, () => new RawClient({ path: socket }));
    this.unauthenticatedClient = new RawClient(tcp);
  }

  requests(count: number): Promise<void> {
    return this.together(count, async (index) => {
      const call = this.seeds.next();
      const isValid = this.random.oneIn(VALID_ONE_IN);
      const message = isValid ? call.message : mutated(call.message, this.seeds.next().message, this.random);
      const response = await this.client(index).call(call.path, framed(message), call);
      const by = call.isOurs ? "" : " by a library";
      this.statuses.add(`${nameOf(response)}${response.status === INTERNAL ? by : ""}`);
      if (response.status === 0) this.accepted.add(call.path);
      this.judge(call.isOurs ? "ours" : "library", { ...call, message }, response);
    });
  }

  /** Around the message, not in it. */
  brokenCalls(count: number): Promise<void> {
    return this.together(count, async (index) => {
      let call = this.seeds.next();
      while (!call.isOurs || TAKES_PARTS.has(call.path)) call = this.seeds.next();
      const { name, response, isExpected } = await breakCall(this.client(index), call, this.random);
      this.broken.add(`${name}: ${response}`);
      if (!isExpected) this.problem(call, `${name} was answered ${response}`);
    });
  }

  /** Over TCP, without a token. */
  unauthenticatedCalls(count: number): Promise<void> {
    return this.together(count, async () => {
      const call = this.seeds.next();
      const response = await this.unauthenticatedClient.call(call.path, framed(call.message), call);
      this.unauthenticated.add(nameOf(response));
      this.judge(call.path.startsWith("/grpc.health.v1.") ? "library" : "stranger", call, response);
    });
  }

  close(): void {
    for (const client of [...this.clients, this.unauthenticatedClient]) client.close();
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
