import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Server, handleClientStreamingCall, handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import {
  type ExportRuntime,
  type HorizonControl,
  type ImportRuntime,
  type RuntimeTransfer,
  type SetHorizon,
  type StoreMaintenance,
  type VersionedStore,
  unsupported,
} from "@bolthole/contract";
import {
  AdminService,
  type GetStatusResponseSchema,
  type StreamCodec,
  type UnaryCodec,
  type UploadCodec,
  adminCodecs,
  grpcMethod,
  storeCodecs,
} from "@bolthole/contract/wire";
import { toStatus } from "./failure.js";
import { type HandlerContext, registerLongLoad, registerStream, registerUnary, registerUpload } from "./handler.js";
import { hasLongResponse } from "./method-limits.js";

/** Registers RuntimeStoreService: one handler for each method of the store, with the codec of that method. */
export function registerStoreService(server: Server, context: HandlerContext, store: VersionedStore): void {
  for (const [name, codec] of Object.entries(storeCodecs)) {
    // The compiler checks where `storeCodecs` is declared that each codec has the types of its method.
    const method = store[name as keyof VersionedStore].bind(store) as (request: unknown, call: unknown) => never;
    switch (codec.kind) {
      case "unary": {
        const register = hasLongResponse(codec.method) ? registerLongLoad : registerUnary;
        register(server, context, codec as unknown as UnaryCodec<unknown, unknown>, method);
        break;
      }
      case "stream":
        registerStream(server, context, codec as unknown as StreamCodec<unknown, unknown>, method);
        break;
      case "upload":
        registerUpload(server, context, codec as unknown as UploadCodec<unknown, unknown>, method);
        break;
    }
  }
}

export type DaemonStatus = MessageInitShape<typeof GetStatusResponseSchema>;

/** Registers AdminService, for the operator of the daemon. Register it on the socket only: its calls are not authorized. */
export function registerAdminService(
  server: Server,
  context: HandlerContext,
  getStatus: () => Promise<DaemonStatus>,
  transfer: RuntimeTransfer & HorizonControl,
  maintenance: StoreMaintenance,
): void {
  const { backup, verify, compact, exportRuntime, importRuntime } = adminCodecs;
  registerUnary(server, context, adminCodecs.getStatus as never, getStatus);
  registerUnary(server, context, adminCodecs.setHorizon as never, (request: SetHorizon) =>
    transfer.setHorizon(request),
  );
  registerStream(server, context, backup as never, () => maintenance.backUp());
  registerStream(server, context, verify as never, () => maintenance.verify());
  registerStream(server, context, compact as never, () => maintenance.compact());
  registerStream(server, context, exportRuntime as never, (request: ExportRuntime) => transfer.exportRuntime(request));
  registerUpload(server, context, importRuntime as never, (request: ImportRuntime) => transfer.importRuntime(request));
}

/** Registers AdminService where it is not served: each call is refused with a text that says where it is. */
export function refuseAdminService(server: Server): void {
  const refusal = toStatus(
    unsupported("AdminService over TCP; use the unix socket of the daemon, or its command line"),
  );
  const unary: handleUnaryCall<Buffer, Buffer> & handleClientStreamingCall<Buffer, Buffer> = (_call, respond) => {
    respond(refusal);
  };
  const stream: handleServerStreamingCall<Buffer, Buffer> = (call) => {
    call.emit("error", refusal);
  };
  const same = (bytes: Buffer): Buffer => bytes;
  for (const method of AdminService.methods) {
    const { path } = grpcMethod(method);
    if (method.methodKind === "server_streaming") server.register(path, stream, same, same, "serverStream");
    else server.register(path, unary, same, same, method.methodKind === "unary" ? "unary" : "clientStream");
  }
}
