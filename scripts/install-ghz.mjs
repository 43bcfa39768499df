// Installs the pinned ghz, a gRPC load generator that `pnpm bench` uses, into .tools/bin. It needs Go.
import { hasGo, installTool } from "./go-tool.mjs";

const GHZ = { name: "ghz", module: "github.com/bojand/ghz", folder: "cmd/ghz", version: "v0.120.0" };

if (!hasGo()) console.log("Go is not installed, so ghz was not installed; pnpm bench skips the rows that need it");
else process.exitCode = installTool(GHZ) ? 0 : 1;
