import { OutcomeUnknownError, StoreError, type StoreErrorReason, type VersionedStore } from "@bolthole/contract";
import type { Findings } from "../check/findings.js";
import { type Seen, loadInputs, loadRecord } from "../load/load-record.js";
import type { Random } from "../random.js";
import { type HistoryLine, OAUTH, now } from "./history.js";
import { SharedRuntime, type SharedWrite, nextOauthWrite } from "./shared-runtime.js";

/** Refusals that the models explain. */
const MODELLED: readonly StoreErrorReason[] = ["FENCE_CONFLICT", "VERSION_CONFLICT", "RECEIPT_EXISTS"];
/** Failures that change nothing and that a fault explains. */
const HARMLESS: readonly StoreErrorReason[] = [
  "UNAVAILABLE",
  "CANCELLED",
  "DEADLINE_EXCEEDED",
  "BUSY",
  "SHUTTING_DOWN",
];

const CALL_MS = 400;
const SETTLE_MS = 2000;

/** One of several clients of the same runtimes; notes what it asked and what it was told, with the time of both. */
export class LinearClient {
  private readonly runtimes: readonly SharedRuntime[];
  private oauthVersion: string | null;
  /** Writes of the OAuth value without an answer. */
  private readonly openOauth: { readonly id: string; readonly line: HistoryLine }[] = [];

  constructor(
    private readonly number: number,
    runtimeIds: readonly string[],
    oauthVersion: string | null,
    private readonly store: VersionedStore,
    private readonly random: Random,
    private readonly findings: Findings,
    private readonly append: (line: HistoryLine) => void,
  ) {
    this.runtimes = runtimeIds.map((runtimeId) => new SharedRuntime(runtimeId));
    this.oauthVersion = oauthVersion;
  }

  async load(halt: AbortSignal): Promise<void> {
    while (!halt.aborted) {
      const runtime = this.runtimes[this.random.below(this.runtimes.length)];
      if (!runtime) return;
      switch (this.random.weighted({ write: 50, read: 35, list: 6, readOauth: 4, writeOauth: 5 })) {
        case "write":
          await this.write(runtime.nextWrite(this.random), runtime);
          break;
        case "read":
          await this.read(runtime);
          break;
        case "list":
          await this.list(runtime);
          break;
        case "readOauth":
          await this.readOauth();
          break;
        case "writeOauth":
          await this.write(nextOauthWrite(this.random, this.oauthVersion), undefined);
          break;
      }
    }
  }

  private async write(write: SharedWrite, runtime: SharedRuntime | undefined): Promise<void> {
    const { id, partition, sets, inserts, newFence, fence, versions, ifCurrent } = write;
    const facts = {
      partition,
      kind: "write",
      client: this.number,
      sets,
      inserts,
      newFence,
      fence,
      versions,
      ifCurrent,
    } as const;
    const call = now();
    const done = (result: string, version?: string): void => {
      this.append({ ...facts, call, return: now(), result, version });
      if (version !== undefined) this.written(write, version, runtime);
    };
    try {
      const answer = await write.send(this.store, { deadline: Date.now() + CALL_MS });
      if (answer) done("ok", answer.version);
      else done("missed");
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (MODELLED.includes(error.reason)) done(error.reason);
      else if (error instanceof OutcomeUnknownError) await this.settle(id, { ...facts, call });
      else this.judge(error, partition);
    }
  }

  /** Half of what is unknown is asked for and sealed; the rest stays open. */
  private async settle(id: string, line: HistoryLine): Promise<void> {
    if (line.partition === OAUTH) this.openOauth.push({ id, line });
    else if (this.random.oneIn(2)) this.append(line);
    else {
      try {
        await this.seal(this.store, id, line);
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        this.append(line);
      }
    }
  }

  /** Settles what became of the OAuth value. */
  async settleOauth(store: VersionedStore): Promise<void> {
    for (const { id, line } of this.openOauth.splice(0)) await this.seal(store, id, line);
  }

  /** What is sealed never happened: if it did, somebody will have seen what nobody wrote. */
  private async seal(store: VersionedStore, id: string, line: HistoryLine): Promise<void> {
    const status = await store.getCommit({ requestId: id, seal: true }, { deadline: Date.now() + SETTLE_MS });
    if (status.state === "applied") this.append({ ...line, return: now(), result: "ok", version: status.version });
    else if (status.state !== "sealed") this.findings.add("request outcome", id, `sealed, it is ${status.state}`);
  }

  private written(write: SharedWrite, version: string, runtime: SharedRuntime | undefined): void {
    if (runtime) runtime.noteWritten(write, version);
    else this.oauthVersion = version;
  }

  private async read(runtime: SharedRuntime): Promise<void> {
    const record = runtime.someRecord(this.random);
    await this.reading(runtime.runtimeId, async (deadline) => {
      const seen = await loadRecord(this.store, runtime.runtimeId, record, { deadline });
      runtime.note(record, seen);
      return { kind: "read", record, seen } as const;
    });
  }

  private async list(runtime: SharedRuntime): Promise<void> {
    await this.reading(runtime.runtimeId, async (deadline) => {
      const rows: Record<string, Seen> = Object.fromEntries(
        await loadInputs(this.store, runtime.runtimeId, { deadline }),
      );
      return { kind: "list", rows } as const;
    });
  }

  private async readOauth(): Promise<void> {
    await this.reading(OAUTH, async (deadline) => {
      const seen = await loadRecord(this.store, "", "oauth", { deadline });
      this.oauthVersion = seen?.version ?? null;
      return { kind: "read", record: "oauth", seen } as const;
    });
  }

  private async reading(
    partition: string,
    read: (deadline: number) => Promise<Pick<HistoryLine, "kind" | "record" | "seen" | "rows">>,
  ): Promise<void> {
    const call = now();
    try {
      const found = await read(Date.now() + CALL_MS);
      this.append({ partition, client: this.number, call, return: now(), ...found });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.judge(error, partition);
    }
  }

  private judge(error: StoreError, partition: string): void {
    if (HARMLESS.includes(error.reason)) return;
    this.findings.add("sound answers", partition, `${error.reason}: ${error.message}`);
  }
}
