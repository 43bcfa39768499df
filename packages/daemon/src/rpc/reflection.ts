import { toBinary } from "@bufbuild/protobuf";
import type { DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import type { PackageDefinition } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import {
  file_bolthole_v1_error,
  file_google_rpc_error_details,
  file_grpc_health_v1_health,
} from "@bolthole/contract/wire";

/** Lets grpcurl and its like find the services of these files by themselves (v1 and v1alpha), and read error details. */
export function registerReflection(server: Server, files: readonly DescFile[]): void {
  const all = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (all.has(file.name)) return;
    file.dependencies.forEach(add);
    all.set(file.name, file);
  };
  [...files, file_grpc_health_v1_health, file_bolthole_v1_error, file_google_rpc_error_details].forEach(add);
  // The compiler's own descriptors: what proto-loader makes of them takes map entries out of their messages.
  const fileDescriptorProtos = [...all.values()].map(({ proto }) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, proto)),
  );
  const definition = { files: { format: "", type: {}, fileDescriptorProtos } };
  new ReflectionService(definition as unknown as PackageDefinition).addToServer(server);
}
