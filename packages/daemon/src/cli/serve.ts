import { setFlagsFromString } from "node:v8";
import { Command, Option } from "commander";
import { LostFilesError } from "@bolthole/core";
import { closeInspector } from "@bolthole/core/no-inspector";
import { SETTINGS, type SettingName, flagOf, helpOf, resolveConfig, unknownVariables, variableOf } from "../config.js";
import { type Daemon, type OnFailure, startDaemon } from "../daemon.js";
import { EXIT, type ExitCode } from "../exit-code.js";
import { createLog } from "../log.js";
import { preventCoreDumps } from "../process-limits.js";
import { ENDING_SIGNALS, ignoreSignals } from "./signals.js";

/**
 * The time that the process runs after the disk failed or the files of the store were lost. Pending responses and health watchers need
 * this time; the native library may be in a bad state, so it is short.
 */
const FAILURE_EXIT_MS = 500;

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
  // The daemon writes no report: an output that is lost changes neither its work nor its exit code.
  process.stdout.removeAllListeners("error").on("error", () => undefined);
  const config = resolveConfig(flags, process.env);
  const log = createLog(config.logLevel);
  for (const { variable } of unknownVariables(process.env)) {
    log.warn(
      { variable },
      "this variable of the environment is no setting and has no effect; see bolthole serve --help",
    );
  }
  let failure: ExitCode | undefined;
  const exit = async (code: ExitCode): Promise<void> => {
    await log.output.drained();
    // `process.exit` would wait for every call to the disk that has not returned.
    if (code === EXIT.NOT_CLOSED) process.kill(process.pid, "SIGKILL");
    // Everything is closed. Without this call, a handle that a library left open would keep the process running.
    process.exit(failure ?? code);
  };
  // On a failed commit, lmdb-js also rejects promises that it does not return. The writer has handled that failure already.
  process.on("unhandledRejection", (reason) => {
    if (!(reason instanceof Error && "commitError" in reason)) throw reason;
  });
  const onFailure: OnFailure = (cause, saved) => {
    failure = cause instanceof LostFilesError ? EXIT.DATA_FOLDER : EXIT.DISK;
    const text =
      cause instanceof LostFilesError
        ? "the files of the store were removed or replaced; the daemon stops, and accepts no change any more"
        : "the disk failed during a write; the daemon stops; acknowledged changes are safe";
    log.fatal({ err: cause }, text);
    const code = failure;
    setTimeout(() => void saved.then(() => exit(code)), FAILURE_EXIT_MS);
    setTimeout(() => void exit(code), FAILURE_EXIT_MS + config.closeTimeout);
  };
  const stopping = new AbortController();
  let daemon: Daemon | undefined;
  const stop = (): void => {
    stopping.abort();
    void daemon?.stop().then(exit, (error: unknown) => {
      log.fatal({ err: error }, "the stop failed");
      return exit(EXIT.INTERNAL);
    });
  };
  // Signals are handled during the start too, because the store may be open already and must be closed.
  for (const signal of ENDING_SIGNALS) {
    process.on(signal, () => {
      log.info({ signal }, "stopping");
      stop();
    });
  }
  ignoreSignals((signal) => {
    closeInspector();
    log.warn({ signal }, "this signal has no effect");
  });
  if (!preventCoreDumps()) {
    log.warn("a crash may write a core file, which has secrets of the store; start the daemon with: ulimit -c 0");
  }
  try {
    daemon = await startDaemon(config, log, onFailure, stopping.signal);
  } catch (error) {
    if (!stopping.signal.aborted || (error as Error).name !== "AbortError") throw error;
    await exit(EXIT.CLEAN);
    return;
  }
  closeInspector();
  if (stopping.signal.aborted) stop();
  else process.stdout.write(welcome(daemon.targets));
}

function welcome(targets: readonly string[]): string {
  const [socket = ""] = targets;
  const url = quoted(socket.replace(/^unix:/, "unix://"));
  return [
    ...targets.map((target) => `bolthole listens on ${target}`),
    `try (grpcurl 1.9.2 or later): grpcurl -plaintext ${url} bolthole.v1.RuntimeStoreService/GetServerInfo`,
    "",
  ].join("\n");
}

/** Returns a word as a shell takes it for one word. */
const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
