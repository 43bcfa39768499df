import { randomBytes } from "node:crypto";
import { open } from "lmdb";
import { writeInputState } from "@bolthole/json";
import { inputRow } from "../ledger.js";
import { RuntimeStoreService } from "@bolthole/contract/wire";
import { folderOfArguments, registerUnary, serveBare } from "./bare-server.js";

/*
 * What the daemon puts for one PersistInputState, with the sizes it has there: the row, the runtime's head, the outcome
 * of the request id, and the store's tally. (The daemon's group writer puts the tally once for a whole group, and the
 * number of the last commit beside it; a lone handler has no groups, so the tally is put each time and the number never.)
 */
const RECORD_HEADER = 20;
const ROW_BYTES = RECORD_HEADER + writeInputState(inputRow(0, 1)).length;
const HEAD_BYTES = RECORD_HEADER + 41;
const OUTCOME_BYTES = RECORD_HEADER + 35 + "01234567.123456".length + "PersistInputState".length;
const TALLY_BYTES = RECORD_HEADER + 33;

/** One lone `childTransaction` for each call, awaited until it is flushed; no rule, no check, no request id. */
async function main(folder: string): Promise<void> {
  const db = open<Buffer, Buffer>({
    path: folder,
    noSubdir: false,
    encoding: "binary",
    keyEncoding: "binary",
    overlappingSync: false,
    eventTurnBatching: true,
    compression: false,
    cache: false,
    maxReaders: 126,
  });
  const [row, head, outcome, tally] = [ROW_BYTES, HEAD_BYTES, OUTCOME_BYTES, TALLY_BYTES].map((size) =>
    randomBytes(size),
  );
  if (!row || !head || !outcome || !tally) throw new RangeError("there are four rows");
  const tallyKey = Buffer.of(1, 1);
  await serveBare(
    folder,
    (server) => {
      registerUnary(server, RuntimeStoreService.method.persistInputState, async (request) => {
        const { runtimeId = "", requestId = "", state } = request;
        const headKey = Buffer.from(`\u0002${runtimeId}\0\u0001\0`, "latin1");
        const rowKey = Buffer.from(`\u0002${runtimeId}\0\u0001\u0004${uuidBytes(state?.inputId ?? "")}`, "latin1");
        const outcomeKey = Buffer.from(`\u0001\u0003${uuidBytes(requestId)}`, "latin1");
        await db.childTransaction(() => {
          void db.put(rowKey, row);
          void db.put(headKey, head);
          void db.put(outcomeKey, outcome);
          void db.put(tallyKey, tally);
        });
        return { version: `01234567.${String(state?.attemptCount)}` };
      });
    },
    () => db.close(),
  );
}

/** Sixteen bytes as text, as the daemon's keys have them. */
const uuidBytes = (uuid: string): string => Buffer.from(uuid.replaceAll("-", ""), "hex").toString("latin1");

if (require.main === module) void main(folderOfArguments());
