import { hash } from "node:crypto";
import type { ExpectedSnapshot, NamedSnapshot } from "./versioned-store.js";

/** Bytes that are expected, by the digest that stands for them where the bytes themselves do not go. */
export const namedSnapshot = (expected: ExpectedSnapshot): NamedSnapshot =>
  "document" in expected ? { sha256: hash("sha256", expected.document, "buffer") } : expected;
