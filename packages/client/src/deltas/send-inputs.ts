import type { CommittedInputs, RuntimeMutation, StoredInputState, UnchangedInputs } from "@bolthole/contract";
import type { OutgoingInputs } from "./known-inputs.js";
import { KnownRows } from "./known-rows.js";
import { type Sending, isRefused } from "./sending.js";

/** Sends the rows that are not known to be stored as they are, or all of them when that turns out to be wrong. */
export async function sendInputs(
  { inputs, batchRows, unanswered }: Sending,
  request: RuntimeMutation & { readonly unchangedInputs?: UnchangedInputs | undefined },
  rows: readonly StoredInputState[],
  commit: (rows: readonly StoredInputState[], unchanged: UnchangedInputs | undefined) => Promise<CommittedInputs>,
): Promise<CommittedInputs> {
  const { runtimeId, requestId, unchangedInputs } = request;
  const attempt = async (outgoing: OutgoingInputs): Promise<CommittedInputs> => {
    const { travelling, unchanged, known } = outgoing;
    try {
      const answer = outgoing.answered(await commit(travelling, unchanged));
      unanswered.forget(requestId);
      return answer;
    } catch (error) {
      const some = { known: KnownRows.of(known), unchanged };
      unanswered.note(error, known.length > 0 ? some : { known: undefined, unchanged: undefined });
      throw error;
    }
  };
  const { known, unchanged } = unanswered.basisOf(requestId) ?? {};
  const isSplit = requestId === undefined || known !== undefined;
  if (isSplit && !unchangedInputs && rows.length <= batchRows) {
    const some = inputs.split(runtimeId, rows, known && { known, unchanged });
    try {
      return await attempt(some);
    } catch (error) {
      if (!some.unchanged || !isOfRows(error)) throw error;
      inputs.forget(runtimeId);
    }
  }
  return attempt(inputs.all(runtimeId, rows, unchangedInputs));
}

/** Rows were written by somebody else; or one is refused by its place, which it has only among all of them. */
const isOfRows = (error: unknown): boolean => isRefused(error, "INPUT_NOT_CURRENT", /^input_(updates|states)\b/);
