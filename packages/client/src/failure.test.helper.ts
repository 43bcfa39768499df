import { StoreError } from "@bolthole/contract";

export const failureOf = async (call: Promise<unknown>): Promise<StoreError> => {
  const error: unknown = await call.then(
    () => new Error("the call did not fail"),
    (reason: unknown) => reason,
  );
  if (error instanceof StoreError) return error;
  throw error;
};
