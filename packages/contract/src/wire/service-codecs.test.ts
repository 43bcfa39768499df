import type { DescMethod, DescService } from "@bufbuild/protobuf";
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
