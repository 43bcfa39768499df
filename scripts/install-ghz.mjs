// Installs the pinned ghz, which `pnpm bench` drives gRPC servers with, into .tools/bin. It needs Go.
import { hasGo, installTool } from "./go-tool.mjs";

const GHZ = { name: "ghz", module: "github.com/bojand/ghz", folder: "cmd/ghz", version: "v0.120.0" };

if (!hasGo()) console.log("there is no Go: ghz is not installed, and the rows that it drives are skipped");
else process.exitCode = installTool(GHZ) ? 0 : 1;
