import type { VersionedStore } from "@bolthole/contract";
import { isMutation, storeCodecs } from "@bolthole/contract/wire";

type Request<Name extends keyof VersionedStore> = Parameters<VersionedStore[Name]>[0];

/** The methods whose request is a `Mutation`. (`NoArguments` has an index signature, so it seems to have every field.) */
type MutationName = {
  [Name in keyof VersionedStore]: string extends keyof Request<Name>
    ? never
    : "expectedStoreId" extends keyof Request<Name>
      ? Name
      : never;
}[keyof VersionedStore];

/** The methods that are retried under a request id. The compiler names a mutation that is missing here. */
const MUTATIONS = {
  persistAuthOauthFlowSnapshot: true,
  updateAuthOauthFlowSnapshot: true,
  commitSessionSnapshot: true,
  commitSessionTranscriptRewriteSnapshot: true,
  atomicApply: true,
  clearSessionSnapshot: true,
  replaceSessionSnapshotIfCurrent: true,
  clearSessionSnapshotIfCurrent: true,
  persistInputState: true,
  commitMachineLifecycle: true,
  persistOpsLifecycle: true,
  deleteOpsLifecycle: true,
  deleteRuntime: true,
} satisfies Record<MutationName, true>;

const codecs = Object.entries(storeCodecs);

test.each(codecs)("%s is retried with a request id if it is a mutation, and without one otherwise", (name, codec) => {
  const isListed = Object.hasOwn(MUTATIONS, name);
  expect(isMutation(codec.method)).toBe(isListed);
  // A mutation that cannot carry a request id, or one that is not a unary call, could be applied twice.
  if (isListed) {
    expect(codec.kind).toBe("unary");
    expect(Object.keys(codec.method.input.field)).toContain("requestId");
  }
});
