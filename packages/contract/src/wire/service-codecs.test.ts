import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { AdminService } from "../gen/bolthole/v1/admin_pb.js";
import { RuntimeStoreService } from "../gen/bolthole/v1/store_pb.js";
import { adminCodecs } from "./admin-codecs.js";
import { storeCodecs } from "./store-codecs.js";

type Codecs = Readonly<Record<string, { readonly method: DescMethod }>>;

/** Returns a sentence for each RPC without a codec, and for each codec without the RPC of its name. */
function gaps(service: DescService, codecs: Codecs): string[] {
  const missing = service.methods
    .filter(({ localName }) => !(localName in codecs))
    .map(({ name }) => `${service.name}.${name} has no codec`);
  const foreign = Object.entries(codecs).flatMap(([name, { method }]) => {
    if (service.methods.find(({ localName }) => localName === name) === method) return [];
    return [`the codec ${name} is for ${method.parent.name}.${method.name}`];
  });
  return [...missing, ...foreign];
}

test.each<[DescService, Codecs]>([
  [RuntimeStoreService, storeCodecs],
  [AdminService, adminCodecs],
])("%s has one codec for each RPC, under its name", (service, codecs) => {
  expect(gaps(service, codecs)).toEqual([]);
});

/** The fields that every mutation has, with their numbers. A script can rely on them. */
const MUTATION_FIELDS = { request_id: 10, expected_store_id: 11 };
const RUNTIME_MUTATION_FIELDS = { ...MUTATION_FIELDS, expected_fence_token: 12, expected_versions: 13 };

test("the common fields of all mutations have the same names and numbers", () => {
  for (const { input, idempotency, name } of RuntimeStoreService.methods) {
    if (idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN) continue;
    const numbers = Object.fromEntries(input.fields.map((field) => [field.name, field.number]));
    const expected = "runtime_id" in numbers ? RUNTIME_MUTATION_FIELDS : MUTATION_FIELDS;
    expect([name, numbers]).toMatchObject([name, expected]);
  }
});

test("a missing, an additional and a misnamed codec are reported with the RPC", () => {
  const { getCommit, ...others } = storeCodecs;
  expect(gaps(RuntimeStoreService, others)).toEqual(["RuntimeStoreService.GetCommit has no codec"]);
  expect(gaps(RuntimeStoreService, { ...others, getCommits: getCommit })).toEqual([
    "RuntimeStoreService.GetCommit has no codec",
    "the codec getCommits is for RuntimeStoreService.GetCommit",
  ]);
  expect(gaps(RuntimeStoreService, { ...storeCodecs, getCommit: storeCodecs.listRuntimes })).toEqual([
    "the codec getCommit is for RuntimeStoreService.ListRuntimes",
  ]);
});
