import { type BoltholeStore, connect } from "@bolthole/client";
import type { ServerProcess } from "./peers/server-process.js";

/** A call with a large document has to be sent first. */
const CALL_MS = 60_000;

/** What one subject has open; everything is closed in the reverse order when the subject ends. */
export class Cast {
  private readonly leaving: (() => Promise<string>)[] = [];

  /** Answers what was wrong with the end of anything, or nothing. */
  static async with<T>(play: (cast: Cast) => Promise<T>): Promise<T> {
    const cast = new Cast();
    try {
      return await play(cast);
    } finally {
      await cast.close();
    }
  }

  async started(starting: Promise<ServerProcess>): Promise<ServerProcess> {
    const server = await starting;
    this.leaving.push(() => server.stop());
    return server;
  }

  /** Stops one server before the others. */
  async stop(server: ServerProcess): Promise<void> {
    tell(await server.stop());
  }

  async connected(target: string): Promise<BoltholeStore> {
    const store = await connect(target, { timeoutMs: CALL_MS });
    this.closes(() => store.close());
    return store;
  }

  closes(close: () => Promise<void>): void {
    this.leaving.push(() => close().then(() => ""));
  }

  private async close(): Promise<void> {
    for (const leave of this.leaving.reverse()) tell(await leave());
  }
}

/** With an error under way a problem is its consequence at most, and must not hide it. */
function tell(problem: string): void {
  if (problem === "") return;
  process.stderr.write(`bench: ${problem}\n`);
  process.exitCode = 1;
}
