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
import { defaultDataFolder, variableOf } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";
import { findHome } from "../folder/data-folder.js";
import { readEndpoint } from "../folder/endpoint.js";
import { findingText } from "./verify.js";

const WAIT_MS = 5000;

/** `bolthole status`: what the daemon of a data folder is doing. */
export function statusCommand(): Command {
  return new Command("status")
    .description("say what the daemon of a data folder is doing")
    .option("--data <folder>", `data folder (${variableOf("data")})`)
    .option("--json", "print one JSON object")
    .action(async (flags: { readonly data?: string; readonly json?: true }) => {
      const folder = flags.data ?? process.env[variableOf("data")] ?? defaultDataFolder();
      const status = await getStatus(folder);
      process.stdout.write(
        flags.json
          ? `${toJsonString(GetStatusResponseSchema, status, { prettySpaces: 2, alwaysEmitImplicit: true })}\n`
          : describe(status),
      );
    });
}

/** Of the daemon that serves this folder. */
export async function getStatus(folder: string): Promise<GetStatusResponse> {
  const [target] = readEndpoint(findHome(folder));
  if (target === undefined) throw new StartupError(EXIT.NOT_RUNNING, `no daemon serves ${folder}`);
  const client = new Client(target, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
  const { path, requestSerialize, responseDeserialize } = grpcMethod(AdminService.method.getStatus);
  try {
    return await new Promise((resolve, reject) => {
      const deadline = Date.now() + WAIT_MS;
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, { deadline }, (error, answer) => {
        if (answer) resolve(answer);
        else
          reject(
            new StartupError(EXIT.NOT_RUNNING, `the daemon at ${target} does not answer: ${String(error?.details)}`),
          );
      });
    });
  } finally {
    client.close();
  }
}

const mebibytes = (bytes: bigint): string => `${(Number(bytes) / (1024 * 1024)).toFixed(1)} MiB`;

function holds({ usedBytes, quotaBytes, diskFreeBytes }: GetStatusResponse): string {
  const quota = quotaBytes === undefined ? "no quota" : `of ${mebibytes(quotaBytes)} allowed`;
  const free = diskFreeBytes === undefined ? "" : `, ${mebibytes(diskFreeBytes)} free on the disk`;
  return `${mebibytes(usedBytes)}, ${quota}${free}`;
}

const STATES: Readonly<Record<number, string>> = {
  [ScrubState.OFF]: "off",
  [ScrubState.RESTING]: "resting",
  [ScrubState.RUNNING]: "running",
};

/** The scrub in one line, and each finding of the pass under way and of the last one in another. */
function scrubRows(scrub: ScrubStatus | undefined): [string, string][] {
  if (!scrub) return [];
  const { state, bytesPerSecond, passes, current, last } = scrub;
  const parts = [STATES[state] ?? "in a state that this version does not know"];
  if (state !== ScrubState.OFF) parts.push(`${mebibytes(bytesPerSecond)} a second`, `${passes.toString()} passes`);
  if (current) parts.push(`since ${current.startedAt} ${readIn(current)}`);
  if (last) parts.push(`until ${last.endedAt} ${readIn(last)}`);
  const findings = new Set([current, last].flatMap((pass) => pass?.findings.map(findingText) ?? []));
  return [["scrub", parts.join(", ")], ...[...findings].map((text): [string, string] => ["damaged", text])];
}

const readIn = ({ runtimes, bytes, findingCount }: ScrubPass): string =>
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
    ["holds", holds(status)],
    ["outcomes", `${status.keptOutcomes.toString()} kept for retries`],
    ["in flight", `${String(status.requestsInFlight)} requests, ${mebibytes(status.requestBytesInFlight)}`],
    ["connections", String(status.connections)],
    ["memory", mebibytes(status.residentBytes)],
    ...scrubRows(status.scrub),
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");
}
