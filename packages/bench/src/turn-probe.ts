import type { ServerProcess } from "./peers/server-process.js";
import { median } from "./rounds.js";
import type { Ready } from "./sessions/live-session.js";
import type { WireTap } from "./wire-tap.js";

/** What one turn took; NaN where nobody looked. */
export interface MeasuredTurn {
  readonly callerMs: number;
  /** Of the server process. */
  readonly cpuMs: number;
  /** At the server's door: from the first bytes of a request to the end of its answer. */
  readonly serverMs: number;
  readonly wireBytes: number;
  readonly putBytes: number;
  readonly writtenBytes: number;
}

type Reading = Omit<MeasuredTurn, "callerMs">;

/** Counters that are read before and after a turn. */
export interface Probe {
  read(): Promise<Reading>;
}

const UNSEEN = {
  cpuMs: Number.NaN,
  serverMs: Number.NaN,
  wireBytes: Number.NaN,
  putBytes: Number.NaN,
  writtenBytes: Number.NaN,
};

/** Looks from outside: nothing is between the caller and the server. */
export class ServerProbe implements Probe {
  constructor(private readonly server: ServerProcess) {}

  read(): Promise<Reading> {
    return Promise.resolve({ ...UNSEEN, cpuMs: this.server.cpuMs() });
  }
}

/** Looks at what goes through a tap, and inside an observed server. */
export class TapProbe implements Probe {
  private wireBytes = 0;
  private serverMs = 0;

  constructor(
    private readonly server: ServerProcess,
    private readonly tap: WireTap,
  ) {}

  async read(): Promise<Reading> {
    const { putBytes } = await this.server.innerFigures();
    const { bytes, serverMs } = this.tap.take();
    this.wireBytes += bytes;
    this.serverMs += serverMs;
    return {
      cpuMs: Number.NaN,
      serverMs: this.serverMs,
      wireBytes: this.wireBytes,
      putBytes,
      writtenBytes: this.server.writtenBytes(),
    };
  }
}

export async function measureTurn(turn: Ready, probe: Probe): Promise<MeasuredTurn> {
  const before = await probe.read();
  const start = performance.now();
  await turn();
  const callerMs = performance.now() - start;
  const after = await probe.read();
  const difference = (figure: keyof Reading): number => after[figure] - before[figure];
  return {
    callerMs,
    cpuMs: difference("cpuMs"),
    serverMs: difference("serverMs"),
    wireBytes: difference("wireBytes"),
    putBytes: difference("putBytes"),
    writtenBytes: difference("writtenBytes"),
  };
}

/** One number for each round. */
export function summary<Kind extends string>(
  rounds: readonly Readonly<Record<Kind, readonly MeasuredTurn[]>>[],
  kind: Kind,
  figure: keyof MeasuredTurn,
  by: "median" | "mean",
): number[] {
  return rounds.map((round) => {
    const values = round[kind].map((turn) => turn[figure]);
    return by === "median" ? median(values) : values.reduce((sum, value) => sum + value, 0) / values.length;
  });
}
