import { toJsonString } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
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
import { readEndpoint } from "../folder/state-files.js";
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
      const status = await getStatus(folder);
      process.stdout.write(
        flags.json
          ? `${toJsonString(GetStatusResponseSchema, status, { prettySpaces: 2, alwaysEmitImplicit: true })}\n`
          : describe(status),
      );
    });
}

/** Returns the status of the daemon that serves this folder. Throws a StartupError with NOT_RUNNING when no daemon responds. */
export async function getStatus(folder: string): Promise<GetStatusResponse> {
  const [target] = readEndpoint(findControlFolder(folder));
  if (target === undefined)
    throw new StartupError(EXIT.NOT_RUNNING, `no daemon serves ${folder}; start one with bolthole serve`);
  const client = new Client(target, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
  const { path, requestSerialize, responseDeserialize } = grpcMethod(AdminService.method.getStatus);
  try {
    return await new Promise((resolve, reject) => {
      const deadline = Date.now() + TIMEOUT_MS;
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, { deadline }, (error, response) => {
        if (response) resolve(response);
        else {
          const message = `the daemon at ${target} does not respond: ${String(error?.details)}`;
          reject(new StartupError(EXIT.NOT_RUNNING, message, error));
        }
      });
    });
  } finally {
    client.close();
  }
}

const mebibytes = (bytes: bigint): string => `${(Number(bytes) / (1024 * 1024)).toFixed(1)} MiB`;

function storedSize({ usedBytes, quotaBytes, diskFreeBytes }: GetStatusResponse): string {
  const quota = quotaBytes === undefined ? "no quota" : `quota ${mebibytes(quotaBytes)}`;
  const free = diskFreeBytes === undefined ? "" : `, ${mebibytes(diskFreeBytes)} free on the disk`;
  return `${mebibytes(usedBytes)}, ${quota}${free}`;
}

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
  if (state !== ScrubState.OFF) parts.push(`${mebibytes(bytesPerSecond)} per second`, `${passes.toString()} passes`);
  if (current) parts.push(`current pass since ${current.startedAt}: ${describePass(current)}`);
  if (last) parts.push(`last pass until ${last.endedAt}: ${describePass(last)}`);
  const findings = new Set([current, last].flatMap((pass) => pass?.findings.map(findingText) ?? []));
  return [["scrub", parts.join(", ")], ...[...findings].map((text): [string, string] => ["damaged", text])];
}

const describePass = ({ runtimes, bytes, findingCount }: ScrubPass): string =>
  `${runtimes.toString()} runtimes, ${mebibytes(bytes)}, ${findingCount.toString()} findings`;

function describe(status: GetStatusResponse): string {
  const rows: [string, string][] = [
    ["version", status.version],
    ["pid", `${String(status.pid)}, since ${status.startedAt}`],
    ["listens on", status.endpoints.join(", ")],
    [
      "engine",
      status.dataFolder ? `${status.engine} in ${status.dataFolder}, format ${status.formatVersion}` : status.engine,
    ],
    ["store", `${status.storeId}, ${status.commitSequence.toString()} commits, ${mebibytes(status.storedBytes)}`],
    ["size", storedSize(status)],
    ["outcomes", `${status.keptOutcomes.toString()} kept for retries`],
    ["in flight", `${String(status.requestsInFlight)} requests, ${mebibytes(status.requestBytesInFlight)}`],
    ["connections", String(status.connections)],
    ["memory", mebibytes(status.residentBytes)],
    ...scrubRows(status.scrub),
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");
}
