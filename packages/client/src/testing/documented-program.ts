import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DaemonProcess } from "@bolthole/conformance/process";
import ts from "typescript";

const ROOT = join(__dirname, "..", "..", "..", "..");
const DAEMON = join(ROOT, "packages", "daemon", "dist", "cli", "main.js");

/** The folder with the data folder, and the address, in the pages. The program gets real ones, and its output has these again. */
const DOCUMENTED_FOLDER = "/path/to";
const DOCUMENTED_ADDRESS = "127.0.0.1:7117";

/** The strictness that a user may have set. */
const COMPILER_OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
  types: ["node"],
  typeRoots: [join(ROOT, "node_modules", "@types")],
};

/** Returns the text of a page of the repository. */
export const readPage = (name: string): string => readFileSync(join(ROOT, name), "utf8");

/** The TypeScript snippets of a page, as one program. */
export interface DocumentedProgram {
  readonly source: string;
  /** The lines that it prints, by the comments after `console.log` and the blocks of text. */
  readonly expectedOutput: readonly string[];
}

export function documentedProgram(page: string): DocumentedProgram {
  const text = readPage(page);
  const source = [...text.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, snippet = ""]) => snippet).join("\n");
  const expectedOutput: string[] = [];
  for (const [, language, block = ""] of text.matchAll(/^```(ts|text)\n([^]*?)^```$/gm)) {
    if (language === "text") expectedOutput.push(...block.trimEnd().split("\n"));
    else for (const [, line = ""] of block.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)) expectedOutput.push(line);
  }
  return { source, expectedOutput };
}

/**
 * Compiles a program and runs it against a new daemon. Returns the lines that it prints. Throws when it does not compile,
 * or when it fails.
 *
 * The program is an ES module in a folder inside this package, so that `@bolthole/client` means this package, by the
 * `exports` of its package.json.
 */
export async function runProgram(source: string): Promise<string[]> {
  const folder = mkdtempSync(join(dirname(__dirname), "program-"));
  const daemon = new DaemonProcess({ main: DAEMON, data: join(folder, "data"), args: ["--listen", "127.0.0.1:0"] });
  try {
    await daemon.start();
    const program = join(folder, "program.mts");
    const [, tcpTarget = ""] = daemon.targets;
    writeFileSync(program, source.replaceAll(DOCUMENTED_FOLDER, folder).replaceAll(DOCUMENTED_ADDRESS, tcpTarget));
    compile(program);
    const lines = await run(join(folder, "program.mjs"));
    return lines.map((line) => line.replaceAll(folder, DOCUMENTED_FOLDER).replaceAll(tcpTarget, DOCUMENTED_ADDRESS));
  } finally {
    await daemon.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function compile(file: string): void {
  const program = ts.createProgram([file], COMPILER_OPTIONS);
  const diagnostics = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
  if (diagnostics.length === 0) return;
  const host = {
    getCurrentDirectory: () => ROOT,
    getCanonicalFileName: (name: string) => name,
    getNewLine: () => "\n",
  };
  throw new Error(`the program does not compile:\n${ts.formatDiagnostics(diagnostics, host)}`);
}

async function run(file: string): Promise<string[]> {
  const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`the program ended with exit code ${String(code)}:\n${errors}`);
  return output.split("\n").filter((line) => line !== "");
}
