import type {
  OutcomeRetention,
  RequestIdTimes,
  RuntimeId,
  RuntimeSummary,
  Version,
  VersionedStore,
} from "@bolthole/contract";
import { StoreError, readFailed } from "@bolthole/contract";
import { damageOf } from "../audit/store-audit.js";
import { decodeRuntimeManifest } from "../commit/manifests.js";
import { decodeRow } from "../commit/row.js";
import type { KeyOf, Row } from "../engine.js";
import { type StoreContext, versionOf } from "../store-context.js";
import { requestIdTimes } from "./horizon.js";
import { checkStoredRuntimeId, invalid, tooLarge } from "../validate.js";

type StoreOperations = Pick<VersionedStore, "listRuntimes" | "getCommit" | "getServerInfo">;

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;
/** The most bytes of the runtime ids in one page, unless it has a single one. */
const PAGE_BYTES = 1 << 20;

export const storeOperations = (
  context: StoreContext,
  serverVersion: string,
  outcomeRetention: OutcomeRetention,
): StoreOperations => ({
  async listRuntimes({ pageSize, pageToken }) {
    if (pageSize > MAX_PAGE) throw tooLarge(readFailed, "page_size", MAX_PAGE, pageSize, "runtimes");
    const limit = pageSize === 0 ? DEFAULT_PAGE : pageSize;
    const after = parsePageToken(pageToken);
    if (after) checkStoredRuntimeId(after.runtimeId, readFailed);
    const entries = await context.engine.view((view) => view.scan({ table: "runtimeManifest", after }, limit));
    const runtimes: RuntimeSummary[] = [];
    let bytes = 0;
    for (const { key, row } of entries) {
      bytes += Buffer.byteLength(key.runtimeId, "utf8");
      if (bytes > PAGE_BYTES && runtimes.length > 0) break;
      const isDamaged = context.damagedRuntimes.has(key.runtimeId) || damageOf(key, row) !== undefined;
      if (isDamaged) runtimes.push(damagedSummary(key.runtimeId));
      else runtimes.push(summaryOf(key, row, versionOf(context, row)));
    }
    const last = runtimes.at(-1);
    const isLastPage = entries.length < limit && runtimes.length === entries.length;
    return { runtimes, nextPageToken: last && !isLastPage ? makePageToken(last.runtimeId) : "" };
  },

  async getCommit({ requestId, seal }) {
    const status = await context.committer.status(requestId, seal);
    if (status.state !== "applied") return { state: status.state };
    return { state: status.state, version: status.version, method: status.method };
  },

  getServerInfo: async () => ({
    serverVersion,
    storeId: context.engine.storeId,
    engine: context.engine.name,
    durable: context.engine.durable,
    limits: context.limits,
    outcomeRetention,
    requestIdTimes: await readableTimes(context),
  }),
});

/** Returns undefined when the store manifest cannot be read. The other facts are then still served, and so are loads. */
async function readableTimes(context: StoreContext): Promise<RequestIdTimes | undefined> {
  try {
    return await requestIdTimes(context);
  } catch (error) {
    if (error instanceof StoreError) return undefined;
    throw error;
  }
}

function summaryOf(key: KeyOf<"runtimeManifest">, row: Row, version: Version): RuntimeSummary {
  const manifest = decodeRow(key, row, decodeRuntimeManifest);
  return {
    runtimeId: key.runtimeId,
    version,
    inputCount: manifest.input.rows,
    receiptCount: manifest.receipt.rows,
    hasSessionSnapshot: manifest.snapshot.rows > 0,
    hasMachineLifecycle: manifest.lifecycle.rows > 0,
    hasOpsLifecycle: manifest.ops.rows > 0,
    hasDamagedManifest: false,
  };
}

const damagedSummary = (runtimeId: RuntimeId): RuntimeSummary => ({
  runtimeId,
  version: "",
  inputCount: 0,
  receiptCount: 0,
  hasSessionSnapshot: false,
  hasMachineLifecycle: false,
  hasOpsLifecycle: false,
  hasDamagedManifest: true,
});

/** Makes every token nonempty: the empty runtime id is legal, and a page may end with it. */
const TOKEN_PREFIX = "after:";

const makePageToken = (runtimeId: string): string =>
  Buffer.from(TOKEN_PREFIX + runtimeId, "utf8").toString("base64url");

function parsePageToken(token: string): KeyOf<"runtimeManifest"> | undefined {
  if (token === "") return undefined;
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (!text.startsWith(TOKEN_PREFIX)) {
    throw invalid(readFailed, "page_token", "the next_page_token of an earlier page");
  }
  return { table: "runtimeManifest", runtimeId: text.slice(TOKEN_PREFIX.length) };
}
