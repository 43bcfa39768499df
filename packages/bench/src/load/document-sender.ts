import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { Random } from "@bolthole/core/testing";
import { Conversation } from "../sessions/conversation.js";

/** The settings of clients that each send one whole new document after another. */
interface Sending {
  readonly target: string;
  readonly clients: number;
  readonly documentBytes: number;
  /** The rate of all clients together. */
  readonly bytesPerSecond: number;
}

/** The number of documents that were committed since the last report. */
interface Sent {
  readonly documents: number;
}

type Order = "send" | "pause";

const SESSION = "0198f0a0-0006-7000-8000-000000000001";
const TURN_BYTES = 8000;
/** A client's documents have no content in common. */
const DOCUMENTS_EACH = 3;
const CALL_MS = 60_000;
const END_MS = 10_000;

/** The clients run in a separate process, so that their CPU time affects neither the daemon nor the measuring process. */
export class DocumentSender {
  private constructor(private readonly child: ChildProcess) {}

  /** Resolves when the documents are made and the clients are connected. */
  static async start(sending: Sending): Promise<DocumentSender> {
    const child = fork(__filename, [JSON.stringify(sending)]);
    const sender = new DocumentSender(child);
    await sender.reported();
    return sender;
  }

  send(): void {
    this.child.send("send" satisfies Order);
  }

  /** Resolves when all sent documents are committed. */
  async pause(): Promise<Sent> {
    this.child.send("pause" satisfies Order);
    return this.reported();
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.disconnect();
    const late = setTimeout(() => this.child.kill("SIGKILL"), END_MS);
    await ended;
    clearTimeout(late);
  }

  private async reported(): Promise<Sent> {
    const waited = new AbortController();
    const { signal } = waited;
    const message = once(this.child, "message", { signal }).then(([sent]) => sent as Sent);
    const ended = once(this.child, "exit", { signal }).then(([code]): never => {
      throw new Error(`the process that sends documents ended with ${String(code)}`);
    });
    try {
      return await Promise.race([message, ended]);
    } finally {
      waited.abort();
      await Promise.allSettled([message, ended]);
    }
  }
}

/** The clients in their process. */
class Clients {
  private isSending = false;
  private documents = 0;
  private under: Promise<unknown> = Promise.resolve();
  /** The number of documents that each client sent. */
  private readonly sent: number[];

  constructor(
    private readonly stores: readonly BoltholeStore[],
    private readonly made: readonly (readonly Buffer[])[],
    private readonly intervalMs: number,
  ) {
    this.sent = stores.map(() => 0);
  }

  send(): void {
    this.isSending = true;
    this.documents = 0;
    this.under = Promise.all(this.stores.map((store, client) => this.run(store, client)));
  }

  async pause(): Promise<Sent> {
    this.isSending = false;
    await this.under;
    return { documents: this.documents };
  }

  /** Sends at a steady rate, or slower when the daemon is slower. */
  private async run(store: BoltholeStore, client: number): Promise<void> {
    const documents = this.made[client] ?? [];
    await sleep((this.intervalMs * client) / this.stores.length);
    while (this.isSending) {
      const next = performance.now() + this.intervalMs;
      const sent = this.sent[client] ?? 0;
      const sessionSnapshot = documents[sent % documents.length];
      this.sent[client] = sent + 1;
      if (sessionSnapshot) await store.commitSessionSnapshot(`agent:sender:${String(client)}`, { sessionSnapshot });
      this.documents += 1;
      await sleep(Math.max(0, next - performance.now()));
    }
  }
}

async function main({ target, clients, documentBytes, bytesPerSecond }: Sending): Promise<void> {
  const stores: BoltholeStore[] = [];
  const made: Buffer[][] = [];
  for (let client = 0; client < clients; client += 1) {
    stores.push(await connect(target, { timeoutMs: CALL_MS }));
    made.push(
      Array.from({ length: DOCUMENTS_EACH }, (_, index) =>
        new Conversation(SESSION, new Random(client * DOCUMENTS_EACH + index + 1))
          .growTo(documentBytes, TURN_BYTES)
          .document(),
      ),
    );
  }
  const running = new Clients(stores, made, (1000 * clients * documentBytes) / bytesPerSecond);
  const report = (sent: Sent): void => {
    process.send?.(sent);
  };
  process.on("message", (order: Order) => {
    if (order === "send") running.send();
    else void running.pause().then(report);
  });
  process.on("disconnect", () => process.exit(0));
  report({ documents: 0 });
}

if (require.main === module) void main(JSON.parse(process.argv[2] ?? "") as Sending);
