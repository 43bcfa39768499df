import { create } from "@bufbuild/protobuf";
import { StoredInputStateSchema } from "../gen/bolthole/v1/input_pb.js";
import { type UploadInputStatesRequest, UploadInputStatesRequestSchema } from "../gen/bolthole/v1/store_pb.js";
import { readInputUpload } from "./streams.js";

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the messages are in memory
async function* stream(messages: readonly UploadInputStatesRequest[]): AsyncGenerator<UploadInputStatesRequest> {
  yield* messages;
}

test("the error of an uploaded row counts the rows before it that were sent in pieces", async () => {
  const piece = (bytes: number) =>
    create(UploadInputStatesRequestSchema, { piece: { length: 3n, bytes: new Uint8Array(bytes) } });
  const upload = create(UploadInputStatesRequestSchema, { upload: { runtimeId: "runtime", rowCount: 3n } });
  // A row has a phase.
  const bad = create(UploadInputStatesRequestSchema, { states: [create(StoredInputStateSchema)] });
  const { parts } = await readInputUpload(stream([upload, piece(2), piece(1), piece(3), bad]));
  const readAll = async (): Promise<void> => {
    for await (const part of parts) expect(part).toMatchObject({ length: 3 });
  };
  await expect(readAll()).rejects.toMatchObject({ field: expect.stringMatching(/^states\[2\]/) as string });
});

test("the rows of a long message are converted a few at a time", async () => {
  const states = Array.from({ length: 100 }, () => create(StoredInputStateSchema, { currentState: 1 }));
  const upload = create(UploadInputStatesRequestSchema, { upload: { runtimeId: "runtime", rowCount: 100n }, states });
  const { parts } = await readInputUpload(stream([upload]));
  const sizes: number[] = [];
  for await (const part of parts) if (!("bytes" in part)) sizes.push(part.length);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(16);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100);
});
