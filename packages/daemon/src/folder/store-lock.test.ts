import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LostFilesError } from "@bolthole/core";
import { EXIT } from "../exit-code.js";
import { lmdbFiles } from "./store-id.js";
import { StoreLock } from "./store-lock.js";

let folder: string;
let lock: StoreLock;
const path = (name: string): string => join(folder, name);
const take = (controlFolder = folder): StoreLock =>
  StoreLock.take({ ...lmdbFiles(folder), controlFolder }, new Date(), () => undefined);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-lock-"));
  for (const name of ["data.mdb", "lock.mdb"]) writeFileSync(path(name), "old", { mode: 0o600 });
  mkdirSync(path("other"), { mode: 0o700 });
  lock = take();
  lock.adopt();
});
afterEach(() => {
  lock.release();
  rmSync(folder, { recursive: true, force: true });
});

/** Puts new files in the place of both files of the engine. */
function replaceFiles(): void {
  for (const name of ["data", "lock"]) writeFileSync(path(`${name}.new`), "new", { mode: 0o600 });
  lock.replaceDataFile(path("data.new"), () => {
    for (const name of ["data", "lock"]) renameSync(path(`${name}.new`), path(`${name}.mdb`));
  });
}

test("the lock goes over to a data file that takes the place of the old one, and both new files are looked up", () => {
  replaceFiles();
  lock.check();
  // Another control folder has another lock file, so only the data file itself keeps this process out.
  expect(() => take(path("other"))).toThrow(expect.objectContaining({ exitCode: EXIT.HELD }) as Error);
  writeFileSync(path("moved"), "");
  renameSync(path("moved"), path("lock.mdb"));
  expect(() => {
    lock.check();
  }).toThrow(LostFilesError);
});

test("nothing takes the place of a file that is not the store's own", () => {
  writeFileSync(path("moved"), "of another store", { mode: 0o600 });
  renameSync(path("moved"), path("data.mdb"));
  const rename = jest.fn();
  expect(() => {
    lock.replaceDataFile(path("data.new"), rename);
  }).toThrow(LostFilesError);
  expect(rename).not.toHaveBeenCalled();
});

test("nothing takes the place of the data file when the new one cannot be locked", () => {
  const rename = jest.fn();
  expect(() => {
    lock.replaceDataFile(path("missing"), rename);
  }).toThrow("cannot be locked");
  expect(rename).not.toHaveBeenCalled();
  lock.check();
  expect(() => take(path("other"))).toThrow(expect.objectContaining({ exitCode: EXIT.HELD }) as Error);
});

test("the lock ends with its release, also after a replacement", () => {
  replaceFiles();
  lock.release();
  take(path("other")).release();
});
