import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { storeCodecs } from "@bolthole/contract/wire";
import { folderOfArguments, registerStream, serveBare } from "./bare-server.js";

/** The document to stream, in the folder. */
export const DOCUMENT_FILE = "document";

const FRAME_BYTES = 1 << 20;

/** Streams a document that it has in memory, in frames of 1 MiB, and does nothing else. */
async function main(folder: string): Promise<void> {
  const document = readFileSync(join(folder, DOCUMENT_FILE));
  const { method, encodeResponse } = storeCodecs.loadSessionSnapshot;
  const answer = { version: "bare", length: document.length, profile: "session", chunks: framesOf(document) } as const;
  const parts: MessageInitShape<typeof method.output>[] = [];
  for await (const part of encodeResponse(answer)) parts.push(part);
  await serveBare(folder, (server) => {
    registerStream(server, method, () => parts);
  });
}

// eslint-disable-next-line @typescript-eslint/require-await -- the codec takes what may have to be waited for
async function* framesOf(document: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < document.length; at += FRAME_BYTES) yield document.subarray(at, at + FRAME_BYTES);
}

if (require.main === module) void main(folderOfArguments());
