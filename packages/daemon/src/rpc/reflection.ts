import { EventEmitter } from "node:events";
import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server, ServerDuplexStream, ServiceDefinition } from "@grpc/grpc-js";
import type { PackageDefinition } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import {
  file_bolthole_v1_error,
  file_google_rpc_error_details,
  file_grpc_health_v1_health,
} from "@bolthole/contract/wire";

/** A request or response of the reflection service, whose type `@grpc/reflection` does not export. */
type Message = object;
type Handler = (call: EventEmitter) => void;

/** Registers server reflection (v1 and v1alpha) for the services of these files, health checks and error details. */
export function registerReflection(server: Server, files: readonly DescFile[]): void {
  const all = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (all.has(file.name)) return;
    file.dependencies.forEach(add);
    all.set(file.name, file);
  };
  [...files, file_grpc_health_v1_health, file_bolthole_v1_error, file_google_rpc_error_details].forEach(add);
  // The descriptors of the protobuf compiler are used, because those of proto-loader lose the map entries of messages.
  const fileDescriptorProtos = [...all.values()].map(({ proto }) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, proto)),
  );
  const definition = { files: { format: "", type: {}, fileDescriptorProtos } };
  const reflection = new ReflectionService(definition as unknown as PackageDefinition);
  reflection.addToServer({
    addService: (service: ServiceDefinition, { ServerReflectionInfo }: Readonly<Record<string, Handler>>) => {
      if (!ServerReflectionInfo) throw new TypeError("expected the handler ServerReflectionInfo of @grpc/reflection");
      const responder = new Responder(ServerReflectionInfo);
      server.addService(service, {
        ServerReflectionInfo: (call: ServerDuplexStream<Message, Message>) => {
          respondToAll(call, responder);
        },
      });
    },
  });
}

/**
 * Returns single responses of a handler of `@grpc/reflection`. The handler itself writes a response for every request that arrives, also to
 * a client that reads none of them.
 */
class Responder {
  private readonly responses: Message[] = [];
  private readonly call = Object.assign(new EventEmitter(), {
    write: (response: Message) => this.responses.push(response),
  });

  constructor(handler: Handler) {
    handler(this.call);
  }

  respond(request: Message): Message {
    this.call.emit("data", request);
    const [response] = this.responses.splice(0);
    if (!response) throw new TypeError("expected a response of @grpc/reflection to each request");
    return response;
  }
}

/** Responds to the requests of one call, one after the other: the next one is taken when the response to the last one was sent. */
function respondToAll(call: ServerDuplexStream<Message, Message>, responder: Responder): void {
  call.on("data", (request: Message) => {
    call.pause();
    call.write(responder.respond(request), () => {
      call.resume();
    });
  });
  call.on("end", () => {
    call.end();
  });
}
