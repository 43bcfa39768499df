import { RuntimeStoreService } from "@bolthole/contract/wire";
import { folderOfArguments, registerUnary, serveBare } from "./bare-server.js";

/** Answers a part of the request, and does nothing else: what gRPC alone costs. */
async function main(folder: string): Promise<void> {
  await serveBare(folder, (server) => {
    registerUnary(server, RuntimeStoreService.method.persistInputState, ({ runtimeId = "" }) =>
      Promise.resolve({ version: runtimeId }),
    );
  });
}

if (require.main === module) void main(folderOfArguments());
