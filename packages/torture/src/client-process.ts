import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { LedgerTail } from "./ledger/ledger-tail.js";
import type { ClientSettings, Order, Report } from "./load/messages.js";

/** Beyond any deadline that a client has: an answer that comes later will never come. */
const STUCK_MS = 180_000;

/** A client in a process of its own, and the ledger that it keeps. */
export class ClientProcess {
  readonly ledger: LedgerTail;
  private readonly child: ChildProcess;
  private broken: Error | undefined;
  private settle: { resolve: () => void; reject: (error: Error) => void } | undefined;

  constructor(settings: ClientSettings) {
    this.ledger = new LedgerTail(settings.ledger);
    this.child = fork(join(__dirname, "load/client-main.js"), [JSON.stringify(settings)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.child.on("message", (report: Report) => {
      if ("broken" in report) this.fail(new Error(`a client is broken: ${report.broken}`));
      else this.settle?.resolve();
    });
    this.child.once("exit", (code, signal) => {
      this.fail(new Error(`a client ended with ${String(code ?? signal)}`));
    });
  }

  /** Resolves when the client reports that it is done. */
  carryOut(order: Order): Promise<void> {
    if (this.broken) return Promise.reject(this.broken);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`a client did not report in ${STUCK_MS} ms`));
      }, STUCK_MS);
      const end = (act: () => void) => (): void => {
        clearTimeout(timer);
        this.settle = undefined;
        act();
      };
      this.settle = {
        resolve: end(resolve),
        reject: (error) => {
          end(() => {
            reject(error);
          })();
        },
      };
      this.child.send(order);
    });
  }

  halt(): void {
    if (this.child.connected) this.child.send({ do: "halt" } satisfies Order);
  }

  end(): Promise<void> {
    this.ledger.close();
    if (this.child.exitCode !== null || this.child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.child.once("exit", () => {
        resolve();
      });
      this.child.kill("SIGKILL");
    });
  }

  private fail(error: Error): void {
    this.broken = error;
    this.settle?.reject(error);
  }
}
