import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import { type StoreFactory, runConformance } from "@bolthole/conformance";
import { RemoteMaintenance } from "./cli/remote-maintenance.js";
import { resolveConfig } from "./config.js";
import { startDaemon } from "./daemon.js";
import { createLog } from "./log.js";

/** A busy machine may stop for many seconds. No case of the suite waits for the end of this time. */
const CALL_MS = 120_000;

/** A store over client, gRPC, daemon and LMDB. The daemon runs in the test process; serve.test.ts uses a separate one. */
const overDaemon = (transport: "socket" | "tcp"): StoreFactory => ({
  capabilities: {
    durable: true,
    versions: true,
    transcriptRules: true,
    fullSequences: true,
    holds: false,
    rawRows: false,
    // The commands for operators use the socket.
    transfers: transport === "socket",
  },
  createSite() {
    const folder = mkdtempSync(join(tmpdir(), "bolthole-conformance-"));
    const data = join(folder, "data");
    const flags = {
      data,
      maxDocumentSize: "4MiB",
      maxOpsSnapshotSize: "4MiB",
      maxInputRowSize: "4MiB",
      ...(transport === "tcp" ? { listen: "127.0.0.1:0" } : {}),
    };
    return Promise.resolve({
      async open() {
        const daemon = await startDaemon(resolveConfig(flags, {}), createLog("silent"), (cause) => {
          throw cause;
        });
        const [socket = "", tcp = ""] = daemon.targets;
        const token = transport === "tcp" ? readFileSync(join(data, "token"), "utf8").trim() : undefined;
        const store = await connect(transport === "socket" ? socket : tcp, { token, timeoutMs: CALL_MS });
        const transfer = new RemoteMaintenance(socket);
        return {
          store,
          versioned: store.versioned,
          transfer,
          async close() {
            transfer.close();
            await store.close();
            await daemon.stop();
          },
        };
      },
      remove() {
        rmSync(folder, { recursive: true, force: true });
        return Promise.resolve();
      },
    });
  },
});

runConformance("client and daemon over the socket", overDaemon("socket"));
runConformance("client and daemon over TCP", overDaemon("tcp"));
