import { dirname } from "node:path";
import { toJsonString } from "@bufbuild/protobuf";
import { Client, type ServiceError, status } from "@grpc/grpc-js";
import { socketCredentials, socketProblem } from "@bolthole/client/socket";
import { Command } from "commander";
import {
  AdminService,
  type GetStatusResponse,
  GetStatusResponseSchema,
  type ScrubPass,
  ScrubState,
  type ScrubStatus,
  grpcMethod,
} from "@bolthole/contract/wire";
import { dataFolderOf, variableOf } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";
import { findControlFolder } from "../folder/data-folder.js";
import { readEndpoint, socketOf } from "../folder/state-files.js";
import { isSamePath, lookUp } from "../folder/file-identity.js";
import { textOfUnfinishedRestore } from "../folder/store-id.js";
import { counted, mebibytes } from "./quantity.js";
import { findingText } from "./verify.js";

const TIMEOUT_MS = 5000;

/** Returns the command `bolthole status`. */
export function statusCommand(): Command {
  return new Command("status")
    .description("show the state of the daemon that serves a data folder")
    .option("--data <folder>", `data folder (${variableOf("data")})`)
    .option("--json", "print one JSON object")
    .action(async (flags: { readonly data?: string; readonly json?: true }) => {
      const folder = dataFolderOf(flags.data);
      const found = await getStatus(folder);
      process.stdout.write(
        flags.json
          ? `${toJsonString(GetStatusResponseSchema, found, { prettySpaces: 2, alwaysEmitImplicit: true })}\n`
          : describe(found),
      );
    });
}

/** Returns the status of the daemon that serves this folder. Throws a StartupError with NOT_RUNNING when no daemon responds. */
export async function getStatus(folder: string): Promise<GetStatusResponse> {
  const [target] = readEndpoint(findControlFolder(folder));
  if (target === undefined) {
    const text = textOfUnfinishedRestore(folder) ?? `no daemon serves ${folder}; start one with bolthole serve`;
    throw new StartupError(EXIT.NOT_RUNNING, text);
  }
  const socket = socketOf(target);
  // The folder was named by the caller: root asks the daemons of other users for their status.
  const owner = lookUp(findControlFolder(folder))?.uid;
  const problem = socketProblem(socket, Number(owner));
  if (problem !== undefined) {
    throw new StartupError(EXIT.NOT_RUNNING, `no daemon of the owner of ${folder} is at its socket: ${problem}`);
  }
  const client = new Client(target, socketCredentials(socket, Number(owner)), {
    "grpc.default_authority": "localhost",
  });
  const { path, requestSerialize, responseDeserialize } = grpcMethod(AdminService.method.getStatus);
  try {
    const found = await new Promise<GetStatusResponse>((resolve, reject) => {
      const deadline = Date.now() + TIMEOUT_MS;
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, { deadline }, (error, response) => {
        if (response) resolve(response);
        else {
          const message = lookUp(socket)
            ? `the daemon at ${target} does not respond: ${problemOf(error)}`
            : `the file endpoint names a daemon at ${target}, but no socket is there: the daemon is stopping or was killed, or its socket was removed, ` +
              "which a running daemon makes again within seconds; repeat the command, or start a daemon with bolthole serve";
          reject(new StartupError(EXIT.NOT_RUNNING, message, error));
        }
      });
    });
    refuseOtherFolder(folder, target, found);
    return found;
  } finally {
    client.close();
  }
}

/** Returns why there was no status. For a connection without an answer, grpc-js has only texts about its own parts. */
function problemOf(error: ServiceError | null): string {
  if (error?.code === status.DEADLINE_EXCEEDED) {
    return `it gave no answer within ${String(TIMEOUT_MS / 1000)} s; its process may be stopped`;
  }
  if (error?.code === status.UNAVAILABLE) {
    return "no process listens there, or the connection ended before the answer; start a daemon with bolthole serve";
  }
  return String(error?.details);
}

/**
 * Throws a StartupError with NOT_RUNNING when a daemon serves another folder: in a copy of a data folder, the file `endpoint` has the
 * address of the original. Folders are compared, not paths, because the daemon may know the folder by another path.
 */
function refuseOtherFolder(folder: string, target: string, { dataFolder }: GetStatusResponse): void {
  const socket = dirname(socketOf(target));
  if (isSamePath(socket, findControlFolder(folder)) || isSamePath(dataFolder, folder)) return;
  throw new StartupError(
    EXIT.NOT_RUNNING,
    `no daemon serves ${folder}: its file endpoint names the daemon of ${dataFolder || socket}, so the folder is probably a copy of that ` +
      "one; start a daemon with bolthole serve, or name the folder of the running one",
  );
}

function storedSize({ usedBytes, quotaBytes, diskFreeBytes }: GetStatusResponse): string {
  const quota =
    quotaBytes === undefined ? "no quota" : `quota ${mebibytes(quotaBytes)}${aboveQuota(usedBytes, quotaBytes)}`;
  const free = diskFreeBytes === undefined ? "" : `, ${mebibytes(diskFreeBytes)} free on the disk`;
  return `${mebibytes(usedBytes)}, ${quota}${free}`;
}

const aboveQuota = (usedBytes: bigint, quotaBytes: bigint): string =>
  usedBytes > quotaBytes
    ? ` (${mebibytes(usedBytes - quotaBytes)} above it: only changes that do not grow the store are accepted)`
    : "";

const STATES: Readonly<Record<number, string>> = {
  [ScrubState.OFF]: "off",
  [ScrubState.RESTING]: "resting",
  [ScrubState.RUNNING]: "running",
};

/** Returns one row for the scrub, and one for each finding of the current and of the last pass. */
function scrubRows(scrub: ScrubStatus | undefined): [string, string][] {
  if (!scrub) return [];
  const { state, bytesPerSecond, passes, current, last } = scrub;
  const parts = [STATES[state] ?? "in a state that this version of bolthole cannot name"];
  if (state !== ScrubState.OFF)
    parts.push(`${mebibytes(bytesPerSecond)} per second`, counted(passes, "pass", "passes"));
  if (current) parts.push(`current pass since ${current.startedAt}: ${describePass(current)}`);
  if (last) parts.push(`last pass until ${last.endedAt}: ${describePass(last)}`);
  const findings = new Set([current, last].flatMap((pass) => pass?.findings.map(findingText) ?? []));
  return [["scrub", parts.join(", ")], ...[...findings].map((text): [string, string] => ["damaged", text])];
}

const describePass = ({ runtimes, bytes, findingCount }: ScrubPass): string =>
  `${counted(runtimes, "runtime")}, ${mebibytes(bytes)}, ${counted(findingCount, "finding")}`;

function describe(found: GetStatusResponse): string {
  const rows: [string, string][] = [
    ["version", found.version],
    ["pid", `${String(found.pid)}, since ${found.startedAt}`],
    ["listens on", found.endpoints.join(", ")],
    [
      "engine",
      found.dataFolder ? `${found.engine} in ${found.dataFolder}, format ${found.formatVersion}` : found.engine,
    ],
    ["store", `${found.storeId}, ${counted(found.commitSequence, "commit")}, ${mebibytes(found.storedBytes)}`],
    ["size", storedSize(found)],
    ["outcomes", `${found.keptOutcomes.toString()} kept for retries`],
    [
      "in flight",
      `${counted(found.requestsInFlight, "request")} of ${mebibytes(found.requestBytesInFlight)}, ` +
        `responses of ${mebibytes(found.responseBytesInFlight)}`,
    ],
    ["connections", String(found.connections)],
    ["memory", mebibytes(found.residentBytes)],
    ...(found.droppedLogLines === 0n
      ? []
      : [
          [
            "log",
            `${counted(found.droppedLogLines, "line was", "lines were")} dropped: standard error did not take them`,
          ] as [string, string],
        ]),
    ...scrubRows(found.scrub),
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");
}
