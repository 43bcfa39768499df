import { create, toBinary } from "@bufbuild/protobuf";
import type { DescFile } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import { loadFileDescriptorSetFromBuffer } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";

/** Lets grpcurl and its like find the services of these files by themselves (v1 and v1alpha). */
export function registerReflection(server: Server, files: readonly DescFile[]): void {
  const all = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (all.has(file.name)) return;
    file.dependencies.forEach(add);
    all.set(file.name, file);
  };
  files.forEach(add);
  const set = create(FileDescriptorSetSchema, { file: [...all.values()].map((file) => file.proto) });
  const image = Buffer.from(toBinary(FileDescriptorSetSchema, set));
  new ReflectionService(loadFileDescriptorSetFromBuffer(image, { keepCase: true })).addToServer(server);
}
