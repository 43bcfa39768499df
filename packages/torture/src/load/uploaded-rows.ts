import { type Call, StoreError, type StoredInputState, type VersionedStore } from "@bolthole/contract";

/** The most uploads for one change: a restart of the daemon loses an upload that no commit has used. */
const MOST_UPLOADS = 3;

/** Sends a change whose rows are uploaded before it. `commit` sends the change itself, always with one request id. */
export async function sendUploaded<Response>(
  store: VersionedStore,
  runtimeId: string,
  rows: readonly StoredInputState[],
  call: Call,
  commit: (inputUploadId: string) => Promise<Response>,
): Promise<Response> {
  const states = [...rows].sort((one, other) => (one.inputId < other.inputId ? -1 : 1));
  for (let attempt = 1; ; attempt += 1) {
    const inputUploadId = await store.uploadInputStates(
      { runtimeId, rowCount: states.length, parts: { [Symbol.asyncIterator]: () => onePart(states) } },
      call,
    );
    try {
      return await commit(inputUploadId);
    } catch (error) {
      const isLost = error instanceof StoreError && error.reason === "UPLOAD_UNKNOWN";
      if (!isLost || attempt === MOST_UPLOADS) throw error;
    }
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the rows are in memory
async function* onePart(states: readonly StoredInputState[]): AsyncGenerator<readonly StoredInputState[], void> {
  yield states;
}
