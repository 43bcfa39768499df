import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Server } from "@grpc/grpc-js";
import type { ImportRuntime, RuntimeRequest, RuntimeTransfer, StoreMaintenance } from "@bolthole/contract";
import { type GetStatusResponseSchema, adminCodecs } from "@bolthole/contract/wire";
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
  registerUnary(server, context, adminCodecs.getStatus as never, getStatus);
  registerStream(server, context, adminCodecs.backup as never, () => care.backUp());
  registerStream(server, context, adminCodecs.verify as never, () => care.verify());
  const { exportRuntime, importRuntime } = adminCodecs;
  registerStream(server, context, exportRuntime as never, (request: RuntimeRequest) => transfer.exportRuntime(request));
  registerUpload(server, context, importRuntime as never, (request: ImportRuntime) => transfer.importRuntime(request));
}
