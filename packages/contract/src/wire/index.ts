// For the daemon, the client and the tools: the services, their codecs, and the wire form of records and errors.
export { RuntimeStoreService } from "../gen/bolthole/v1/store_pb.js";
export {
  AdminService,
  type GetStatusResponse,
  GetStatusResponseSchema,
  type ScrubPass,
  type ScrubPassSchema,
  ScrubState,
  type ScrubStatus,
  type ScrubStatusSchema,
} from "../gen/bolthole/v1/admin_pb.js";
export { type StreamCodec, type UnaryCodec, type UploadCodec, isMutation } from "./method-codec.js";
export { allocatePages } from "./pages.js";
export { type StoreCodecs, storeCodecs } from "./store-codecs.js";
export {
  MAX_UPLOADED_STATES,
  decodeInputState,
  encodeInputState,
  inAscendingOrder,
  inputStateBytes,
} from "./streams.js";
export { adminCodecs, encodeFinding } from "./admin-codecs.js";
export { InvalidArgumentError, inside } from "./invalid-argument.js";
export { checkFields, requireObject } from "./field-types.js";
export { shown } from "@bolthole/json";
export { type Allocate, type GrpcMethod, encodeMessage, grpcMethod } from "./method-codec.js";
export { type Pause, type TakeMemory, decodeMessage, decodeMessageInSlices, decodedBytes } from "./sliced-decoding.js";
export {
  decodeLifecycleRecord,
  encodeLifecycleRecord,
  encodeStoredLifecycleRecord,
  inspectLifecycleRecord,
} from "./lifecycle-record.js";
export { EXPECTED_STORE_KEY, comparesStore } from "./expected-store.js";
export { ERROR_DOMAIN, STATUS_DETAILS_KEY, type WireStatus, fromWireStatus, toWireStatus } from "./status.js";

// For server reflection and health checks.
export { file_bolthole_v1_error } from "../gen/bolthole/v1/error_pb.js";
export { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.js";
export {
  Health,
  HealthCheckResponse_ServingStatus,
  file_grpc_health_v1_health,
} from "../gen/grpc/health/v1/health_pb.js";
