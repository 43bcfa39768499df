import { setFlagsFromString } from "node:v8";
import { Command, Option } from "commander";
import { SETTINGS, type SettingName, flagOf, resolveConfig, variableOf } from "../config.js";
import { type Daemon, startDaemon } from "../daemon.js";
import { EXIT, type ExitCode } from "../exit-code.js";
import { createLog } from "../log.js";

/** After the disk failed: long enough for answers and health watchers, short because the native library may be hurt. */
const FAREWELL_MS = 500;

/** `bolthole serve`: runs the daemon until a signal or a failing disk ends it. */
export function serveCommand(): Command {
  const command = new Command("serve").description("run the daemon");
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { help, fallback } = SETTINGS[name];
    const value = fallback();
    const usual = value === undefined ? "" : `; default ${value}`;
    const flag = name === "tcpInsecure" ? `--${flagOf(name)}` : `--${flagOf(name)} <value>`;
    command.addOption(new Option(flag, `${help} (${variableOf(name)}${usual})`));
  }
  return command.action(serve);
}

/**
 * The daemon's own objects are few, and large documents make it collect garbage often: threads that look through the objects
 * beside the program then take more from it, on a machine with few cores, than looking through them in small steps.
 */
const COLLECT_IN_STEPS = "--no-concurrent-marking";

async function serve(flags: Partial<Record<SettingName, string | boolean>>): Promise<void> {
  setFlagsFromString(COLLECT_IN_STEPS);
  const config = resolveConfig(flags, process.env);
  const log = createLog(config.logLevel);
  let hasDiskFailed = false;
  const end = (code: ExitCode): void => {
    // Nothing is under way any more; a handle that a library forgot must not keep the process.
    process.exit(hasDiskFailed ? EXIT.DISK : code);
  };
  // lmdb-js rejects promises of its own beside the one that the writer hears; the failure is dealt with there.
  process.on("unhandledRejection", (reason) => {
    if (!(reason instanceof Error && "commitError" in reason)) throw reason;
  });
  const onFailure = (cause: unknown): void => {
    hasDiskFailed = true;
    log.fatal({ err: cause }, "the disk failed under a write; nothing that was acknowledged is lost");
    setTimeout(end, FAREWELL_MS, EXIT.DISK);
  };
  const stopping = new AbortController();
  let daemon: Daemon | undefined;
  const stop = (): void => {
    stopping.abort();
    void daemon?.stop().then(end, (error: unknown) => {
      log.fatal({ err: error }, "the stop failed");
      end(EXIT.INTERNAL);
    });
  };
  // Heard while the daemon starts, too: a store that is open already has to be closed.
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      log.info({ signal }, "stopping");
      stop();
    });
  }
  try {
    daemon = await startDaemon(config, log, onFailure, stopping.signal);
  } catch (error) {
    if (!stopping.signal.aborted || (error as Error).name !== "AbortError") throw error;
    end(EXIT.CLEAN);
    return;
  }
  if (stopping.signal.aborted) stop();
  else process.stdout.write(welcome(daemon.targets));
}

function welcome(targets: readonly string[]): string {
  const [socket = ""] = targets;
  return [
    ...targets.map((target) => `bolthole listens on ${target}`),
    "try: grpcurl -plaintext -unix -authority localhost " +
      `${socket.replace(/^unix:/, "")} bolthole.v1.RuntimeStoreService/GetServerInfo`,
    "",
  ].join("\n");
}
