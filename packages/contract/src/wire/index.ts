export { RuntimeStoreService } from "../gen/bolthole/v1/store_pb.js";
export {
  AdminService,
  GetStatusRequestSchema,
  GetStatusResponseSchema,
  type GetStatusResponse,
  type ScrubPass,
  type ScrubPassSchema,
  ScrubState,
  type ScrubStatus,
  type ScrubStatusSchema,
} from "../gen/bolthole/v1/admin_pb.js";
export { type StreamCodec, type UnaryCodec, type UploadCodec, isMutation, stream, unary, upload } from "./codec.js";
export { type Allocate, encodeMessage } from "./encode-message.js";
export { type GrpcMethod, grpcMethod } from "./grpc-definition.js";
export { InvalidArgumentError } from "./invalid-argument.js";
export {
  decodeLifecycleRecord,
  encodeLifecycleRecord,
  encodeStoredLifecycleRecord,
  inspectLifecycleRecord,
} from "./lifecycle-record.js";
export { ERROR_DOMAIN, STATUS_DETAILS_KEY, type WireStatus, fromWireStatus, toWireStatus } from "./status.js";
export { maintenanceCodecs, fromFinding } from "./maintenance-codecs.js";
export { transferCodecs } from "./transfer-codecs.js";
export { type StoreCodecs, storeCodecs } from "./store-codecs.js";
export { file_bolthole_v1_error } from "../gen/bolthole/v1/error_pb.js";
export { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.js";
export {
  Health,
  HealthCheckResponse_ServingStatus,
  file_grpc_health_v1_health,
} from "../gen/grpc/health/v1/health_pb.js";
