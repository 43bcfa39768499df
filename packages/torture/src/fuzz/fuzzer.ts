import type { Findings } from "../check/findings.js";
import type { Random } from "../random.js";
import { AdminService, RuntimeStoreService, grpcMethod } from "@bolthole/contract/wire";
import { breakCall } from "./hostile/broken-calls.js";
import { type RawAnswer, RawClient, framed } from "./http2-client.js";
import { mutated } from "./mutation.js";
import { type FuzzCall, Seeds } from "./seeds.js";
import { Tally } from "../tally.js";
import { INTERNAL, type Reach, nameOf, problemOf } from "./verdict.js";

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

/** Sends changed requests and judges every answer. */
export class Fuzzer {
  readonly statuses = new Tally();
  readonly broken = new Tally();
  readonly strangers = new Tally();
  /** RPCs that took a request as valid. */
  readonly understood = new Tally();
  readonly seeds: Seeds;
  private readonly clients: readonly RawClient[];
  private readonly stranger: RawClient;

  constructor(
    socket: string,
    tcp: { readonly host: string; readonly port: number },
    private readonly findings: Findings,
    private readonly random: Random,
  ) {
    this.seeds = new Seeds(random);
    this.clients = Array.from({ length: CONNECTIONS }, () => new RawClient({ path: socket }));
    this.stranger = new RawClient(tcp);
  }

  requests(count: number): Promise<void> {
    return this.together(count, async (index) => {
      const call = this.seeds.next();
      const isValid = this.random.oneIn(VALID_ONE_IN);
      const message = isValid ? call.message : mutated(call.message, this.seeds.next().message, this.random);
      const answer = await this.client(index).call(call.path, framed(message), call);
      const by = call.isOurs ? "" : " by a library";
      this.statuses.add(`${nameOf(answer)}${answer.status === INTERNAL ? by : ""}`);
      if (answer.status === 0) this.understood.add(call.path);
      this.judge(call.isOurs ? "ours" : "library", { ...call, message }, answer);
    });
  }

  /** Around the message, not in it. */
  brokenCalls(count: number): Promise<void> {
    return this.together(count, async (index) => {
      let call = this.seeds.next();
      while (!call.isOurs || TAKES_PARTS.has(call.path)) call = this.seeds.next();
      const { name, answer, isExpected } = await breakCall(this.client(index), call, this.random);
      this.broken.add(`${name}: ${answer}`);
      if (!isExpected) this.problem(call, `${name} was answered ${answer}`);
    });
  }

  /** Over TCP, without a token. */
  strangersCalls(count: number): Promise<void> {
    return this.together(count, async () => {
      const call = this.seeds.next();
      const answer = await this.stranger.call(call.path, framed(call.message), call);
      this.strangers.add(nameOf(answer));
      this.judge(call.path.startsWith("/grpc.health.v1.") ? "library" : "stranger", call, answer);
    });
  }

  close(): void {
    for (const client of [...this.clients, this.stranger]) client.close();
  }

  private client(index: number): RawClient {
    return this.clients[index % this.clients.length] as RawClient;
  }

  private async together(count: number, act: (index: number) => Promise<void>): Promise<void> {
    let begun = 0;
    const worker = async (): Promise<void> => {
      while (begun < count && this.findings.all.length < MOST_PROBLEMS) await act(begun++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  private judge(reach: Reach, call: FuzzCall, answer: RawAnswer): void {
    const problem = problemOf(reach, answer);
    if (problem !== undefined) this.problem(call, problem);
  }

  private problem({ path, message }: FuzzCall, what: string): void {
    this.findings.add(
      "sound answers",
      path,
      `${what}; the request in base64: ${message.toString("base64").slice(0, 4000)}`,
    );
  }
}
