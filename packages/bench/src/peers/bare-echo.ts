import { folderOfArguments, serveBare } from "./bare-server.js";

/** Answers a part of the request, and does nothing else: what gRPC alone costs. */
async function main(folder: string): Promise<void> {
  await serveBare(
    folder,
    ({ runtimeId }) => Promise.resolve({ version: runtimeId ?? "" }),
    () => Promise.resolve(),
  );
}

void main(folderOfArguments());
