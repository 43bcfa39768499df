import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  AdminService,
  type ExportRuntimeResponseSchema,
  type ImportRuntimeRequestSchema,
  ImportResultSchema,
} from "../gen/bolthole/v1/admin_pb.js";
import type { OfRuntime } from "../versioned-store.js";
import { IMPORT_RESULTS, type ImportResult, type ImportRuntime, type RuntimeContents } from "../runtime-transfer.js";
import { stream, upload } from "./codec.js";
import { enumCodec } from "./enum-codec.js";
import { requireField } from "./invalid-argument.js";
import { fromContents, toContents } from "./runtime-parts.js";

const importResult = enumCodec(ImportResultSchema, IMPORT_RESULTS);

/** How whole runtimes travel. */
export const transferCodecs = {
  /** The parts of an answer do not say of which runtime they are: the caller knows. */
  exportRuntime: stream(AdminService.method.exportRuntime, {
    decodeRequest: ({ runtimeId }): OfRuntime => ({ runtimeId: requireField(runtimeId, "runtime_id") }),
    encodeRequest: ({ runtimeId }: OfRuntime) => ({ runtimeId }),
    decodeResponse: async (messages): Promise<RuntimeContents | undefined> => {
      const iterator = messages[Symbol.asyncIterator]();
      const first = await iterator.next();
      return first.done === true ? undefined : toContents("", partsFrom(first, iterator));
    },
    async *encodeResponse(
      contents: RuntimeContents | undefined,
    ): AsyncGenerator<MessageInitShape<typeof ExportRuntimeResponseSchema>> {
      if (!contents) return;
      // A turn for others between two parts: a runtime may have thousands.
      for (const part of fromContents(contents)) yield await Promise.resolve({ part });
    },
  }),
  importRuntime: upload(AdminService.method.importRuntime, {
    async decodeRequest(messages): Promise<ImportRuntime> {
      const iterator = messages[Symbol.asyncIterator]();
      const first = await iterator.next();
      const start = requireField(first.done === true ? undefined : first.value.start, "start");
      const contents = await toContents(
        requireField(start.runtimeId, "start.runtime_id"),
        partsFrom(await iterator.next(), iterator),
      );
      return { contents, overwrite: start.overwrite, dryRun: start.dryRun };
    },
    async *encodeRequest(request: ImportRuntime): AsyncGenerator<MessageInitShape<typeof ImportRuntimeRequestSchema>> {
      const { contents, overwrite, dryRun } = request;
      yield { start: { runtimeId: contents.runtimeId, overwrite, dryRun } };
      for (const part of fromContents(contents)) yield await Promise.resolve({ part });
    },
    decodeResponse: ({ result }): ImportResult => importResult.toModel(result, "result"),
    encodeResponse: (result: ImportResult) => ({ result: importResult.toWire(result) }),
  }),
};

type WithPart = Pick<MessageShape<typeof ImportRuntimeRequestSchema>, "part">;

async function* partsFrom(
  first: IteratorResult<WithPart>,
  rest: AsyncIterator<WithPart>,
): AsyncGenerator<WithPart["part"]> {
  for (let next = first; next.done !== true; next = await rest.next()) yield next.value.part;
}
