import type { MessageInitShape } from "@bufbuild/protobuf";
import type { LoadInputStatesResponse, LoadInputStatesResponseSchema } from "../gen/bolthole/v1/store_pb.js";
import { type StoreError, readFailed } from "../store-error.js";
import type { LoadedInputStates } from "../versioned-store.js";
import { fromInputState, toInputState } from "./input-state.js";
import { requireField } from "./invalid-argument.js";
import { fromErrorDetail, toErrorDetail } from "./status.js";
import { withFirst } from "./with-first.js";

type Message = MessageInitShape<typeof LoadInputStatesResponseSchema>;

/** The first message carries the version of all rows together, and the first rows. */
export async function toInputBatches(parts: AsyncIterable<LoadInputStatesResponse>): Promise<LoadedInputStates> {
  const { first, all } = await withFirst(parts);
  const found: StoreError[] = [];
  async function* batches(): LoadedInputStates["batches"] {
    for await (const { entries, failures } of all) {
      for (const { detail, message } of failures) {
        found.push((detail && fromErrorDetail(detail, message)) ?? readFailed("DAMAGED_RECORD", message));
      }
      // The first message of an empty ledger brings nothing but the version.
      if (entries.length === 0) continue;
      yield entries.map(({ state, version }) => ({
        value: toInputState(requireField(state, "state"), "state"),
        version,
      }));
    }
  }
  return { inputsVersion: requireField(first, "inputs_version").inputsVersion, batches: batches(), failures: found };
}

export async function* fromInputBatches({
  inputsVersion,
  batches,
  failures,
}: LoadedInputStates): AsyncGenerator<Message> {
  let told = -1;
  const message = (entries: NonNullable<Message["entries"]>): Message => {
    const start = told < 0 ? { inputsVersion } : {};
    const next = failures.slice(Math.max(told, 0)).map(toErrorDetail);
    told = failures.length;
    return { ...start, entries, failures: next };
  };
  for await (const batch of batches) {
    yield message(batch.map(({ value, version }) => ({ state: fromInputState(value), version })));
  }
  if (told < failures.length) yield message([]);
}
