import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Server } from "@grpc/grpc-js";
import { AdminService, type GetStatusResponseSchema, unary } from "@bolthole/contract/wire";
import { type HandlerContext, registerUnary } from "./handler.js";

export type DaemonStatus = MessageInitShape<typeof GetStatusResponseSchema>;

/** For the operator; registered on the socket only. */
export function registerAdminService(
  server: Server,
  context: HandlerContext,
  getStatus: () => Promise<DaemonStatus>,
): void {
  const codec = unary(AdminService.method.getStatus, {
    toRequest: () => ({}),
    fromRequest: () => ({}),
    toAnswer: (message): DaemonStatus => message,
    fromAnswer: (status: DaemonStatus) => status,
  });
  registerUnary(server, context, codec as never, getStatus);
}
