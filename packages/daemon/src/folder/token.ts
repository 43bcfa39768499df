import { randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT, StartupError } from "../exit-code.js";

const FILE = "token";
const MIN_LENGTH = 32;

/** The bearer token of the TCP endpoint, made at the first start. */
export function loadToken(folder: string): string {
  const path = join(folder, FILE);
  if (!existsSync(path)) writeFileSync(path, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
  const token = readFileSync(path, "utf8").trim();
  if (token.length < MIN_LENGTH) {
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `${path} holds fewer than ${String(MIN_LENGTH)} characters; delete it to have a new token made`,
    );
  }
  return token;
}

/** In a time that says nothing about where two tokens differ. */
export function isToken(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
