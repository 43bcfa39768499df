import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { BoltholeStore } from "@bolthole/client";
import { RuntimeStoreService, encodeMessage, storeCodecs } from "@bolthole/contract/wire";
import { writeInputState } from "@bolthole/json";
import { v7 as uuidv7 } from "uuid";
import { type GhzLoad, runGhz } from "../load/ghz.js";
import { type CallFigures, IncorrectResponseError } from "../load/loops.js";
import { inputRow, runtimeIdOf } from "../load/runtime-rows.js";
import { findTool } from "../machine.js";
import { type Goal, type Row, type Section, atLeast, atMost, callersText, ratioRow, skippedRow } from "../report.js";
import type { MeasuredCell, Run } from "../rounds.js";
import { Etcd } from "../servers/etcd.js";
import { Resources, startBareCommit, startBareEcho, startDaemon } from "../servers/server-process.js";

const RUNTIMES = 1024;
/** The number of calls in one round, by callers; a round takes about a second. */
const CALLS = { 64: 8000, 1: 1200 } as const;
const CALLS_SHORT = 64;
const CHECKED = 20;
const PROTO = join(__dirname, "..", "..", "..", "..", "proto");
const OPERATION = "commit an input row, by ghz";
const ETCD_OPERATION = "put of the same size, by ghz";
const TITLE = "Small durable commits, driven by ghz, each with a request id";

/** A server that ghz calls: the daemon, or a server that it is compared with. */
interface ComparedServer {
  readonly operation: string;
  readonly server: { readonly name: string; cpuMs(): number };
  readonly load: Pick<GhzLoad, "target" | "proto" | "imports" | "method">;
  message(request: Request): Uint8Array;
}

interface Request {
  readonly requestId: string;
  readonly runtime: number;
  readonly attempt: number;
}

/** Compares the daemon's small commit with a bare commit to LMDB, a bare echo, and etcd. */
export function smallCommits(run: Run): Promise<Section> {
  const ghz = findTool("ghz");
  const etcd = findTool("etcd");
  if (ghz === undefined)
    return Promise.resolve({ title: TITLE, cells: [], rows: ROWS.map((row) => row.skipped(NO_GHZ)) });
  return Resources.with(async (resources) => {
    const daemon = await resources.started(startDaemon(run.folder, { profileFile: run.profileFile }));
    const store = await resources.connected(daemon.target);
    const servers = [
      ofOurService(daemon),
      ofOurService(await resources.started(startBareCommit(run.folder))),
      ofOurService(await resources.started(startBareEcho(run.folder))),
    ];
    if (etcd !== undefined) {
      const server = await Etcd.start(etcd, join(run.folder, "etcd"));
      resources.onEnd(() => server.close());
      servers.push(ofEtcd(server));
    }
    const cells = await measure(ghz, servers, store, run);
    const rows = ROWS.map((row) => row.of(cells, !run.isShort) ?? row.skipped(NO_ETCD));
    return { title: TITLE, cells, rows };
  });
}

const NO_GHZ = "ghz is absent; node scripts/install-ghz.mjs builds it when Go is installed";
const NO_ETCD = "etcd is absent";

function ofOurService(server: { name: string; target: string; cpuMs(): number }): ComparedServer {
  const { persistInputState } = storeCodecs;
  return {
    operation: OPERATION,
    server,
    load: {
      target: server.target,
      proto: join(PROTO, "bolthole", "v1", "store.proto"),
      imports: PROTO,
      method: `${RuntimeStoreService.typeName}/${persistInputState.method.name}`,
    },
    message: ({ requestId, runtime, attempt }) =>
      encodeMessage(
        persistInputState.method.input,
        persistInputState.encodeRequest({
          runtimeId: runtimeIdOf(runtime),
          requestId,
          state: inputRow(runtime, attempt),
        }),
      ),
  };
}

/** Puts a value of the same size under a key of the same length into etcd, without the daemon's other rows. */
function ofEtcd(server: Etcd): ComparedServer {
  return {
    operation: ETCD_OPERATION,
    server,
    load: { target: server.target, proto: server.proto, imports: join(server.proto, ".."), method: Etcd.METHOD },
    message: ({ runtime, attempt }) => {
      const row = inputRow(runtime, attempt);
      const key = Buffer.from(`${runtimeIdOf(runtime)}/${row.inputId}`);
      return Buffer.concat([field(1, key), field(2, writeInputState(row))]);
    },
  };
}

/** A bytes field of a protobuf message, shorter than 16 KiB. */
function field(number: number, bytes: Buffer): Buffer {
  const length = bytes.length < 0x80 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
  return Buffer.concat([Buffer.of((number << 3) | 2, ...length), bytes]);
}

async function measure(
  ghz: string,
  servers: readonly ComparedServer[],
  store: BoltholeStore,
  run: Run,
): Promise<MeasuredCell[]> {
  const { count, hasRehearsal, signal, onProgress } = run.rounds;
  const cells = ([64, 1] as const).flatMap((callers) =>
    servers.map((compared) => ({ ...compared, callers, rounds: [] as CallFigures[] })),
  );
  const folder = join(run.folder, "ghz");
  mkdirSync(folder, { mode: 0o700 });
  let attempt = 0;
  for (let round = hasRehearsal ? 0 : 1; round <= count; round += 1) {
    for (const { operation, server, callers, load, message, rounds } of cells) {
      onProgress(`round ${String(round)} of ${String(count)}: ${operation}, ${server.name}, ${String(callers)}`);
      const requests = Array.from({ length: run.isShort ? CALLS_SHORT : CALLS[callers] }, (_, index): Request => {
        attempt += index % RUNTIMES === 0 ? 1 : 0;
        return { requestId: uuidv7(), runtime: index % RUNTIMES, attempt };
      });
      const messages = requests.map(message);
      const measured = await runGhz(ghz, { ...load, callers, messages }, folder, () => server.cpuMs(), signal);
      if (round > 0) rounds.push(measured);
      if (server.name === "bolthole") await verify(store, requests);
    }
  }
  return cells;
}

/** Checks the last requests: each is applied under its request id, and its row is stored. */
async function verify(store: BoltholeStore, requests: readonly Request[]): Promise<void> {
  for (const { requestId, runtime, attempt } of requests.slice(-CHECKED)) {
    const { state } = await store.versioned.getCommit({ requestId, seal: false });
    const row = await store.loadInputState(runtimeIdOf(runtime), inputRow(runtime, attempt).inputId);
    if (state !== "applied" || row?.attemptCount !== attempt) {
      throw new IncorrectResponseError(
        `${runtimeIdOf(runtime)}: attempt ${String(attempt)} was acknowledged, but is ${state}`,
      );
    }
  }
}

/** One ratio of the table. */
class Ratio {
  constructor(
    private readonly callers: 64 | 1,
    private readonly figure: "rate" | "p50Ms" | "serverCpuUs",
    private readonly server: string,
    private readonly goal?: Goal,
  ) {}

  /** Returns the row; undefined when the compared server was not measured. */
  of(cells: readonly MeasuredCell[], isJudged: boolean): Row | undefined {
    const cell = (name: string): MeasuredCell | undefined =>
      cells.find(({ server, callers }) => server.name === name && callers === this.callers);
    const [daemon, compared] = [cell("bolthole"), cell(this.server)];
    return daemon && compared && ratioRow(this.name, this.figure, [daemon, compared], this.goal, isJudged);
  }

  skipped(why: string): Row {
    return skippedRow(this.name, "times", this.goal, why);
  }

  private get name(): string {
    const figure = { rate: "rate", p50Ms: "p50", serverCpuUs: "server CPU" }[this.figure];
    return `small commits, ${callersText(this.callers)}: ${figure}, against ${this.server === "etcd" ? "" : "the "}${this.server}`;
  }
}

const ROWS: readonly Ratio[] = [
  new Ratio(64, "rate", "bare commit", atLeast(0.9)),
  new Ratio(1, "p50Ms", "bare commit", atMost(1.2)),
  new Ratio(64, "rate", "etcd", atLeast(1.2)),
  new Ratio(1, "rate", "etcd", atLeast(2)),
  new Ratio(64, "rate", "bare echo"),
  new Ratio(64, "serverCpuUs", "bare commit"),
];
