import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Server } from "@grpc/grpc-js";
import type { ImportRuntime, OfRuntime, RuntimeTransfer, StoreCare } from "@bolthole/contract";
import { AdminService, type GetStatusResponseSchema, careCodecs, transferCodecs, unary } from "@bolthole/contract/wire";
import { type HandlerContext, registerStream, registerUnary, registerUpload } from "./handler.js";

export type DaemonStatus = MessageInitShape<typeof GetStatusResponseSchema>;

/** For the operator; registered on the socket only. */
export function registerAdminService(
  server: Server,
  context: HandlerContext,
  getStatus: () => Promise<DaemonStatus>,
  transfer: RuntimeTransfer,
  care: StoreCare,
): void {
  const codec = unary(AdminService.method.getStatus, {
    toRequest: () => ({}),
    fromRequest: () => ({}),
    toAnswer: (message): DaemonStatus => message,
    fromAnswer: (status: DaemonStatus) => status,
  });
  registerUnary(server, context, codec as never, getStatus);
  registerStream(server, context, careCodecs.backup as never, () => care.backUp());
  registerStream(server, context, careCodecs.verify as never, () => care.verify());
  const { exportRuntime, importRuntime } = transferCodecs;
  registerStream(server, context, exportRuntime as never, (request: OfRuntime) => transfer.exportRuntime(request));
  registerUpload(server, context, importRuntime as never, (request: ImportRuntime) => transfer.importRuntime(request));
}
