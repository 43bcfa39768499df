// Checks the Go client: its generated code, `go vet`, and its tests against the built daemon, then the tests again with the race
// detector. Skips, and says so, without Go. `node scripts/client-go.mjs generate` writes the generated code; commit the result.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasGo, installTool } from "./go-tool.mjs";
import { ROOT } from "./pnpm.mjs";

const MODULE = join(ROOT, "packages", "client-go");
const GENERATED = "packages/client-go/boltholepb";
/** The generators. Their versions are those of the libraries in go.mod; protoc-gen-go-grpc has versions of its own. */
const GENERATORS = [
  { name: "protoc-gen-go", module: "google.golang.org/protobuf", folder: "cmd/protoc-gen-go", version: "v1.36.12" },
  {
    name: "protoc-gen-go-grpc",
    module: "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
    folder: "",
    version: "v1.6.0",
  },
];

/** Prints a command and runs it. Ends this program when the command fails. */
function run(command, args, options = {}) {
  console.log(`$ ${[command, ...args].join(" ")}`);
  const { status } = spawnSync(command, args, { stdio: "inherit", cwd: ROOT, ...options });
  if (status !== 0) process.exit(status ?? 1);
}

function generate(into = ROOT) {
  for (const generator of GENERATORS) {
    if (!installTool(generator)) process.exit(1);
  }
  run("node_modules/.bin/buf", ["generate", "--template", "buf.gen.clients.yaml", "--output", into]);
}

function checkGenerated() {
  const fresh = mkdtempSync(join(tmpdir(), "bolthole-gen-"));
  process.on("exit", () => rmSync(fresh, { recursive: true, force: true }));
  generate(fresh);
  const { status } = spawnSync("diff", ["-r", join(fresh, GENERATED), join(ROOT, GENERATED)], { stdio: "inherit" });
  if (status === 0) return;
  console.error(
    "the generated Go code does not match proto/: run `node scripts/client-go.mjs generate`, and commit the result",
  );
  process.exit(1);
}

function test() {
  if (!existsSync(join(ROOT, "packages/daemon/dist/cli/main.js"))) {
    console.error("the daemon is not built: run `npm test` or `pnpm build` first");
    process.exit(1);
  }
  // What go.mod and go.sum do not name is not downloaded.
  const env = { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false", GOTOOLCHAIN: "local" };
  const go = (...args) => run("go", args, { cwd: MODULE, env });
  go("mod", "download");
  go("vet", "./...");
  go("test", "./...");
  go("test", "-race", "./...");
}

if (!hasGo()) {
  console.log("there is no Go, so the Go client was not checked");
} else if (process.argv[2] === "generate") {
  generate();
} else {
  checkGenerated();
  test();
}
