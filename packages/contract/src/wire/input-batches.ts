import type { MessageInitShape } from "@bufbuild/protobuf";
import type { LoadInputStatesResponse, LoadInputStatesResponseSchema } from "../gen/bolthole/v1/store_pb.js";
import type { LoadedInputStates } from "../versioned-store.js";
import { fromInputState, toInputState } from "./input-state.js";
import { required } from "./invalid-argument.js";
import { withFirst } from "./with-first.js";

/** The first message carries the version of all rows together, and the first rows. */
export async function toInputBatches(parts: AsyncIterable<LoadInputStatesResponse>): Promise<LoadedInputStates> {
  const { first, all } = await withFirst(parts);
  async function* batches(): LoadedInputStates["batches"] {
    for await (const { entries } of all) {
      // The first message of an empty ledger brings nothing but the version.
      if (entries.length === 0) continue;
      yield entries.map(({ state, version }) => ({ value: toInputState(required(state, "state"), "state"), version }));
    }
  }
  return { inputsVersion: required(first, "inputs_version").inputsVersion, batches: batches() };
}

export async function* fromInputBatches({
  inputsVersion,
  batches,
}: LoadedInputStates): AsyncGenerator<MessageInitShape<typeof LoadInputStatesResponseSchema>> {
  let isFirst = true;
  for await (const batch of batches) {
    const entries = batch.map(({ value, version }) => ({ state: fromInputState(value), version }));
    yield isFirst ? { inputsVersion, entries } : { entries };
    isFirst = false;
  }
  if (isFirst) yield { inputsVersion };
}
