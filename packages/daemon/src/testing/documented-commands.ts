import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MAIN } from "./daemons.js";

const DOCS = join(__dirname, "..", "..", "..", "..", "docs");

/** A block of commands, and the output that the page has in the block after it. */
export interface DocumentedCommands {
  readonly commands: string;
  readonly output: string;
}

/** Returns every block of commands of a page, or of one section of it. */
export function documentedCommands(page: string, section?: string): DocumentedCommands[] {
  const whole = readFileSync(join(DOCS, page), "utf8");
  const text = section === undefined ? whole : (whole.split(`\n## ${section}\n`)[1]?.split("\n## ")[0] ?? "");
  const fenced = [...text.matchAll(/```(sh|text)\n([^]*?)```\n/g)];
  return fenced.flatMap(([, kind, commands = ""], index) => {
    const next = fenced[index + 1];
    return kind === "sh" ? [{ commands, output: next?.[1] === "text" ? (next[2] ?? "") : "" }] : [];
  });
}

/** Runs commands of a page in a folder, and returns their output without the path of the folder. Rejects when one fails. */
export const runDocumented = (commands: string, folder: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const script = `set -e\nbolthole() { "${process.execPath}" "${MAIN}" "$@"; }\n${commands}`;
    execFile("sh", ["-c", script], { cwd: folder }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${commands}${stdout}${stderr}`));
      else resolve(stdout.replaceAll(`${folder}/`, ""));
    });
  });
