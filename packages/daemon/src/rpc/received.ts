import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import { InvalidArgumentError } from "@bolthole/contract/wire";

/** A request as it came in. grpc-js answers INTERNAL when a deserializer throws, so what is wrong is kept for later. */
export interface Received<D extends DescMessage> {
  readonly bytes: number;
  message(): MessageShape<D>;
}

export const receive =
  <D extends DescMessage>(desc: D) =>
  (buffer: Buffer): Received<D> => ({
    bytes: buffer.length,
    message: () => {
      try {
        return fromBinary(desc, buffer);
      } catch (error) {
        throw new InvalidArgumentError("request", `a ${desc.typeName} message`, (error as Error).message);
      }
    },
  });
