import type { DescMethod } from "@bufbuild/protobuf";
import { RuntimeStoreService } from "../gen/bolthole/v1/store_pb.js";
import { isMutation } from "./method-codec.js";

/**
 * The key of the request metadata with the id of the store that the caller expects. A call that changes nothing has no field
 * `expected_store_id`: without this id, a load from another store would return that nothing is stored.
 */
export const EXPECTED_STORE_KEY = "bolthole-expected-store-id";

/**
 * Whether the daemon compares the id in the metadata for an RPC. A mutation has it as a field, which a caller may set to another value.
 * `GetServerInfo` tells the id of the store that is served now.
 */
export const comparesStore = (method: DescMethod): boolean =>
  method.parent.typeName === RuntimeStoreService.typeName &&
  method !== RuntimeStoreService.method.getServerInfo &&
  !isMutation(method);
