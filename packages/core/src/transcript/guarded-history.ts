import { JsonError } from "@bolthole/json";
import { validateGraph } from "./graph-validation.js";
import type { History } from "./history.js";
import { EndlessWalk, MalformedHistory } from "./malformed-history.js";
import { type Refused, invalidRewrite } from "./refusal.js";
import type { SessionDocument } from "./session-document.js";

const INCOMING = "incoming transcript history state is malformed";

/** Refuses an incoming document whose graph is not sound (section 8.1). Here the phrase comes twice. */
export function validateIncoming(incoming: SessionDocument): void {
  try {
    const history = reading(() => incoming.history(), MalformedHistory.because);
    if (history) validateGraph(history);
  } catch (error) {
    // A circle ends every guard at once: in the reference none of them would ever come to an answer.
    if (!(error instanceof MalformedHistory) || error instanceof EndlessWalk) throw error;
    throw invalidRewrite(incoming.id, `${INCOMING}: ${error.message}`);
  }
}

export const incomingHistory = (incoming: SessionDocument): History | undefined =>
  reading(
    () => incoming.history(),
    (reason) => invalidRewrite(incoming.id, `${INCOMING}: ${reason}`),
  );

/** The previous document's history is read, but not validated. Texts name the incoming document. */
export const previousHistory = ({ id }: SessionDocument, previous: SessionDocument): History | undefined =>
  reading(
    () => previous.history(),
    (reason) => invalidRewrite(id, `previous transcript history state is malformed: ${reason}`),
  );

/** Gives what the history's shape refuses another form. */
export function reading<T>(read: () => T, refusal: (reason: string) => Refused | MalformedHistory): T {
  try {
    return read();
  } catch (error) {
    // Without the place, which is one in the metadata and not in the document.
    if (error instanceof JsonError) throw refusal(error.path === "" ? error.reason : `${error.path}: ${error.reason}`);
    throw error;
  }
}

/** The refusal of a graph that cannot be checked to its end. */
export const endless = (id: string, error: Error): Refused => invalidRewrite(id, `${INCOMING}: ${error.message}`);
