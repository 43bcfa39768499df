import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { Random } from "@bolthole/core/testing";
import { Conversation } from "../sessions/conversation.js";

/** Clients that each send one whole new document after the other. */
export interface Sending {
  readonly target: string;
  readonly clients: number;
  readonly documentBytes: number;
  /** Of all clients together. */
  readonly bytesPerSecond: number;
}

/** What was answered since the last time anybody asked. */
export interface Sent {
  readonly documents: number;
}

type Order = "send" | "pause";

const SESSION = "0198f0a0-0006-7000-8000-000000000001";
const TURN_BYTES = 8000;
/** A client's next document has nothing in common with the ones before it. */
const DOCUMENTS_EACH = 3;
const CALL_MS = 60_000;
const END_MS = 10_000;

/** The clients, in a process of their own: what they compute is not the daemon's doing, nor that of whoever measures. */
export class DocumentSender {
  private constructor(private readonly child: ChildProcess) {}

  /** Resolves when the documents are made and the connections stand. */
  static async start(sending: Sending): Promise<DocumentSender> {
    const child = fork(__filename, [JSON.stringify(sending)]);
    const sender = new DocumentSender(child);
    await sender.answer();
    return sender;
  }

  send(): void {
    this.child.send("send" satisfies Order);
  }

  /** Resolves when everything that was sent is answered. */
  async pause(): Promise<Sent> {
    this.child.send("pause" satisfies Order);
    return this.answer();
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.disconnect();
    const late = setTimeout(() => this.child.kill("SIGKILL"), END_MS);
    await ended;
    clearTimeout(late);
  }

  private async answer(): Promise<Sent> {
    const waited = new AbortController();
    const { signal } = waited;
    const message = once(this.child, "message", { signal }).then(([sent]) => sent as Sent);
    const ended = once(this.child, "exit", { signal }).then(([code]): never => {
      throw new Error(`the sender of documents ended with ${String(code)}`);
    });
    try {
      return await Promise.race([message, ended]);
    } finally {
      waited.abort();
      await Promise.allSettled([message, ended]);
    }
  }
}

/** In the process of the clients. */
class Clients {
  private isSending = false;
  private documents = 0;
  private under: Promise<unknown> = Promise.resolve();
  /** Of each client. */
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

  /** At a steady pace, and as fast as the daemon answers when that is slower. */
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
  const tell = (sent: Sent): void => {
    process.send?.(sent);
  };
  process.on("message", (order: Order) => {
    if (order === "send") running.send();
    else void running.pause().then(tell);
  });
  process.on("disconnect", () => process.exit(0));
  tell({ documents: 0 });
}

if (require.main === module) void main(JSON.parse(process.argv[2] ?? "") as Sending);
