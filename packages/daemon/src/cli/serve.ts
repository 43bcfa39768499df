import { setFlagsFromString } from "node:v8";
import { Command, Option } from "commander";
import { SETTINGS, type SettingName, flagOf, helpOf, resolveConfig, unknownVariables, variableOf } from "../config.js";
import { type Daemon, startDaemon } from "../daemon.js";
import { EXIT, type ExitCode } from "../exit-code.js";
import { createLog } from "../log.js";

/**
 * The time that the process runs after the disk failed. Pending responses and health watchers need this time; the native library may be
 * in a bad state, so it is short.
 */
const DISK_FAILURE_EXIT_MS = 500;

/**
 * Disables concurrent marking in the garbage collector. The daemon has few long-lived objects, and large documents cause frequent
 * collections. On a machine with few cores, the marking threads then take more time from the daemon than incremental marking does.
 */
const GC_FLAG = "--no-concurrent-marking";

/** Returns the command `bolthole serve`. */
export function serveCommand(): Command {
  const command = new Command("serve").description("run the daemon until a signal stops it");
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const value = SETTINGS[name].fallback();
    const defaultText = value === undefined ? "" : `; default ${value}`;
    const flag = name === "tcpInsecure" ? `--${flagOf(name)}` : `--${flagOf(name)} <value>`;
    command.addOption(new Option(flag, `${helpOf(name)} (${variableOf(name)}${defaultText})`));
  }
  return command.action(serve);
}

async function serve(flags: Partial<Record<SettingName, string | boolean>>): Promise<void> {
  setFlagsFromString(GC_FLAG);
  // A reader of the output that has gone must not end the daemon.
  for (const output of [process.stdout, process.stderr]) output.on("error", () => undefined);
  const config = resolveConfig(flags, process.env);
  const log = createLog(config.logLevel);
  for (const { variable } of unknownVariables(process.env)) {
    log.warn(
      { variable },
      "this variable of the environment is no setting and has no effect; see bolthole serve --help",
    );
  }
  let hasDiskFailed = false;
  const exit = (code: ExitCode): void => {
    // `process.exit` would wait for every call to the disk that has not returned.
    if (code === EXIT.NOT_CLOSED) process.kill(process.pid, "SIGKILL");
    // Everything is closed. Without this call, a handle that a library left open would keep the process running.
    process.exit(hasDiskFailed ? EXIT.DISK : code);
  };
  // On a failed commit, lmdb-js also rejects promises that it does not return. The writer has handled that failure already.
  process.on("unhandledRejection", (reason) => {
    if (!(reason instanceof Error && "commitError" in reason)) throw reason;
  });
  const onDiskFailure = (cause: unknown): void => {
    hasDiskFailed = true;
    log.fatal({ err: cause }, "the disk failed during a write; the daemon stops; acknowledged changes are safe");
    setTimeout(exit, DISK_FAILURE_EXIT_MS, EXIT.DISK);
  };
  const stopping = new AbortController();
  let daemon: Daemon | undefined;
  const stop = (): void => {
    stopping.abort();
    void daemon?.stop().then(exit, (error: unknown) => {
      log.fatal({ err: error }, "the stop failed");
      exit(EXIT.INTERNAL);
    });
  };
  // Signals are handled during the start too, because the store may be open already and must be closed.
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      log.info({ signal }, "stopping");
      stop();
    });
  }
  try {
    daemon = await startDaemon(config, log, onDiskFailure, stopping.signal);
  } catch (error) {
    if (!stopping.signal.aborted || (error as Error).name !== "AbortError") throw error;
    exit(EXIT.CLEAN);
    return;
  }
  if (stopping.signal.aborted) stop();
  else process.stdout.write(welcome(daemon.targets));
}

function welcome(targets: readonly string[]): string {
  const [socket = ""] = targets;
  const url = socket.replace(/^unix:/, "unix://");
  return [
    ...targets.map((target) => `bolthole listens on ${target}`),
    `try (grpcurl 1.9.2 or later): grpcurl -plaintext ${url} bolthole.v1.RuntimeStoreService/GetServerInfo`,
    "",
  ].join("\n");
}
