import { appendFileSync } from "node:fs";
import { connect } from "@bolthole/client";
import { StoreError } from "@bolthole/contract";
import { Random } from "../random.js";
import type { WriterLine, WriterSettings } from "./fence-round.js";
import { guardedWrites } from "./writes.js";

/** Who is not refused by then never will be. */
const MOST_WRITES = 300;

const settings = JSON.parse(process.argv[2] ?? "") as WriterSettings;

/** In the hands of the operating system at once: the next thing that happens may be a SIGSTOP. */
const note = (line: WriterLine): void => {
  appendFileSync(settings.file, `${JSON.stringify(line)}\n`);
};

/** Writes under its fence token until it is refused, or has seen that it is not; then tries every kind of write once more. */
async function main(): Promise<void> {
  const store = await connect(settings.target);
  const fenceToken = BigInt(settings.fenceToken);
  const fenced = store.withExpectations({ fenceToken });
  const writes = Object.entries(guardedWrites(new Random(settings.seed), settings.runtimeId, fenceToken));
  const attempt = async ([method, write]: (typeof writes)[number]): Promise<boolean> => {
    try {
      await write(fenced);
      note({ method, applied: true });
      return true;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      note({ method, applied: false, reason: error.reason });
      return false;
    }
  };
  for (let turn = 0; turn < MOST_WRITES; turn += 1) {
    const write = writes[turn % writes.length];
    if (write && !(await attempt(write))) break;
  }
  for (const write of writes) await attempt(write);
  await store.close();
}

void main();
