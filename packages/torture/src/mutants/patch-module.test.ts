import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { CONTROLS } from "../kinds/index.js";

const DAEMON = require.resolve("@bolthole/daemon/bin");

/** Runs a command of the daemon that ends by itself, after `preload` has changed the daemon. Rejects when it fails. */
const startWith = (preload: string): Promise<unknown> =>
  promisify(execFile)(process.execPath, ["--require", preload, DAEMON, "--version"]);

test.each(Object.keys(CONTROLS))("the control %s changes a module that the daemon has", async (control) => {
  await startWith(join(__dirname, `${control}.js`));
});

test("a mutant that changes no module ends the daemon with an error", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-mutant-"));
  const mutant = join(folder, "mutant.js");
  const patchModule = JSON.stringify(join(__dirname, "patch-module.js"));
  writeFileSync(
    mutant,
    `require(${patchModule}).patchModule((request) => request === "./no-such-module.js", () => undefined);`,
  );
  await expect(startWith(mutant)).rejects.toThrow("this mutant is out of date");
  rmSync(folder, { recursive: true });
});
