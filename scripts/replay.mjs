// `pnpm replay FILE...`: plays recordings of the reference on daemons of this checkout, through its client. The program is
// in the test kit (packages/conformance), which depends on the contract only; this script passes it the rest.
import { join } from "node:path";
import { connect } from "@bolthole/client";
import { runReplay } from "@bolthole/conformance/replay";
import { putRawRow } from "@bolthole/sqlite";
import { ROOT } from "./pnpm.mjs";

const daemon = join(ROOT, "packages/daemon/dist/cli/main.js");

await runReplay(process.argv, { daemon, connect, putRawRow });
