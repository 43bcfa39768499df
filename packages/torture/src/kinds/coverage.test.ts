import { StoreError, type VersionedStore } from "@bolthole/contract";
import { isMutation, storeCodecs } from "@bolthole/contract/wire";
import { LinearClient } from "../linear/linear-client.js";
import { RuntimeState } from "../load/operation.js";
import { makeOauthUpdate, makeOperation } from "../load/operations.js";
import { Random } from "../random.js";
import { Violations } from "../run.js";
import { guardedWrites } from "./pause.js";

const MUTATIONS = Object.entries(storeCodecs).flatMap(([name, { method }]) => (isMutation(method) ? [name] : []));
const ROUNDS = 3000;

/** The mutations that a kind of torture leaves out, each with the reason. A new mutation is added to the kind, or here. */
type LeftOut = Readonly<Record<string, string>>;

/** Returns a store that notes the names of the called methods, and these names. `respond` makes the response of each call. */
function notingStore(respond: (name: string) => Promise<unknown>): { store: VersionedStore; called: Set<string> } {
  const called = new Set<string>();
  const store = new Proxy({} as VersionedStore, {
    get: (_target, name: string) => () => {
      called.add(name);
      return respond(name);
    },
  });
  return { store, called };
}

const refuse = (): Promise<never> =>
  Promise.reject(new StoreError("Internal", "UNAVAILABLE", "this store refuses every call"));

const mutationsOf = (called: ReadonlySet<string>): string[] => MUTATIONS.filter((name) => called.has(name)).sort();
const expected = (leftOut: LeftOut): string[] => MUTATIONS.filter((name) => !(name in leftOut)).sort();

test("the load of the kinds that end or cut the daemon off makes every mutation", async () => {
  const leftOut: LeftOut = {
    persistAuthOauthFlowSnapshot: "all clients share the OAuth value, and only a compare-and-set can be checked",
  };
  const { store, called } = notingStore(refuse);
  const random = new Random(1);
  const state = new RuntimeState("runtime", { firstMessageBytes: 100, documentBytes: 100_000 }, random);
  const call = { deadline: Date.now() + 1000 };
  for (let round = 0; round < ROUNDS; round += 1) {
    const operation = makeOperation(random, state);
    await expect(operation.send(store, call)).rejects.toThrow(StoreError);
    if (operation.misses !== "always") operation.adopt("epoch.1");
  }
  await expect(makeOauthUpdate(undefined).send(store, call)).rejects.toThrow(StoreError);
  expect(mutationsOf(called)).toEqual(expected(leftOut));
});

test("the clients of the linearizability check make every mutation", async () => {
  const leftOut: LeftOut = {
    commitSessionTranscriptRewriteSnapshot:
      "the sessions of this kind are opaque, and an opaque session has no rewrite",
  };
  const halt = new AbortController();
  let calls = 0;
  const { store, called } = notingStore((name) => {
    calls += 1;
    if (calls === ROUNDS) halt.abort();
    // Some writes compare the version of an earlier one.
    return MUTATIONS.includes(name)
      ? Promise.resolve({ version: `epoch.${String(calls)}`, replayed: false })
      : refuse();
  });
  const violations = new Violations();
  await new LinearClient(1, ["runtime"], null, store, new Random(1), violations, () => undefined).load(halt.signal);
  expect(mutationsOf(called)).toEqual(expected(leftOut));
});

test("a paused writer with an old fence token tries every mutation that the token guards", async () => {
  const leftOut: LeftOut = {
    persistAuthOauthFlowSnapshot: "the OAuth value belongs to no runtime and has no fence token",
    updateAuthOauthFlowSnapshot: "the OAuth value belongs to no runtime and has no fence token",
    commitSessionTranscriptRewriteSnapshot:
      "a rewrite describes the stored session, which the two writers do not share",
    deleteRuntime: "it deletes the fence token with which all other writes are compared; the old writer tries it last",
  };
  const { store, called } = notingStore(refuse);
  const writes = guardedWrites(new Random(1), "runtime", 1n);
  for (const write of Object.values(writes)) await expect(write(store as never)).rejects.toThrow(StoreError);
  expect(mutationsOf(called)).toEqual(expected(leftOut));
});
