import { OutcomeUnknownError, StoreError } from "@bolthole/contract";

/** Returns the `StoreError` that the call rejects with. Throws when it resolves or rejects with another error. */
export async function failureOf(call: Promise<unknown>): Promise<StoreError> {
  const error: unknown = await call.then(
    () => new Error("expected the call to reject, but it resolved"),
    (reason: unknown) => reason,
  );
  if (error instanceof StoreError) return error;
  throw error;
}

/** Returns the `OutcomeUnknownError` that the call rejects with. */
export async function outcomeUnknownOf(call: Promise<unknown>): Promise<OutcomeUnknownError> {
  const error = await failureOf(call);
  if (error instanceof OutcomeUnknownError) return error;
  throw error;
}
