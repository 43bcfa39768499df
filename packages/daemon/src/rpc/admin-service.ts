import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Server } from "@grpc/grpc-js";
import type { ImportRuntime, OfRuntime, RuntimeTransfer, StoreMaintenance } from "@bolthole/contract";
import {
  AdminService,
  type GetStatusResponseSchema,
  maintenanceCodecs,
  transferCodecs,
  unary,
} from "@bolthole/contract/wire";
import { type HandlerContext, registerStream, registerUnary, registerUpload } from "./handler.js";

export type DaemonStatus = MessageInitShape<typeof GetStatusResponseSchema>;

/** For the operator; registered on the socket only. */
export function registerAdminService(
  server: Server,
  context: HandlerContext,
  getStatus: () => Promise<DaemonStatus>,
  transfer: RuntimeTransfer,
  care: StoreMaintenance,
): void {
  const codec = unary(AdminService.method.getStatus, {
    decodeRequest: () => ({}),
    encodeRequest: () => ({}),
    decodeResponse: (message): DaemonStatus => message,
    encodeResponse: (status: DaemonStatus) => status,
  });
  registerUnary(server, context, codec as never, getStatus);
  registerStream(server, context, maintenanceCodecs.backup as never, () => care.backUp());
  registerStream(server, context, maintenanceCodecs.verify as never, () => care.verify());
  const { exportRuntime, importRuntime } = transferCodecs;
  registerStream(server, context, exportRuntime as never, (request: OfRuntime) => transfer.exportRuntime(request));
  registerUpload(server, context, importRuntime as never, (request: ImportRuntime) => transfer.importRuntime(request));
}
