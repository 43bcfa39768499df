import { mkdtempSync, rmSync } from "node:fs";
import os, { tmpdir } from "node:os";
import { join } from "node:path";
import { SocketFile } from "./socket-file.js";

let home: string;
const { XDG_RUNTIME_DIR: runtime } = process.env;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "bolthole-socket-"));
  delete process.env.XDG_RUNTIME_DIR;
  jest.spyOn(os, "tmpdir").mockReturnValue(home);
});
afterEach(() => {
  jest.restoreAllMocks();
  if (runtime !== undefined) process.env.XDG_RUNTIME_DIR = runtime;
  rmSync(home, { recursive: true, force: true });
});

test("the socket of a folder with a long path needs no entry of the user in the password database", () => {
  jest.spyOn(os, "userInfo").mockImplementation(() => {
    throw new Error("uv_os_get_passwd returned ENOENT");
  });
  const { path } = SocketFile.in(join(home, "x".repeat(120)));
  expect(path.startsWith(join(home, `bolthole-${String(process.getuid?.())}`))).toBe(true);
});
