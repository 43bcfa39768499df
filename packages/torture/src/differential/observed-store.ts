import { type DocumentRecord, type UploadSessionSnapshot, exportContents } from "@bolthole/contract";
import type { EngineStore } from "@bolthole/core";
import { type DocumentShape, edited, patchOf, uploadOf } from "./document-shape.js";
import { type Observation, type Plain, observe } from "./observation.js";
import type { VersionPairs } from "./version-pairs.js";

/** What a step does to the requests of an operation before they reach a store, the same in every store. */
export interface Disguise {
  /** How the documents of the requests are sent; whole unless set. */
  readonly shape?: DocumentShape | undefined;
  /** Members that are added to a request with input rows. */
  readonly members?: Readonly<Record<string, unknown>> | undefined;
}

type Arguments = Readonly<Record<string, unknown>>;
type Method = (request: unknown, ...rest: unknown[]) => Promise<unknown>;

/** The member of a request that has its document, and the kind of the document. */
const DOCUMENTS: Readonly<Record<string, readonly [member: string, record: DocumentRecord]>> = {
  commitSessionSnapshot: ["sessionDelta", "session_snapshot"],
  commitSessionTranscriptRewriteSnapshot: ["sessionDelta", "session_snapshot"],
  atomicApply: ["sessionDelta", "session_snapshot"],
  replaceSessionSnapshotIfCurrent: ["replacement", "session_snapshot"],
  persistOpsLifecycle: ["opsDelta", "ops_lifecycle"],
};

const WITH_INPUTS = ["atomicApply", "commitMachineLifecycle"];

/**
 * A store whose requests and responses are observed. Its caller uses the versions of the reference store, and names no upload of
 * another store.
 */
export class ObservedStore {
  /** The observations of the present step. */
  observations: Observation[] = [];
  /** The requests of the present step as they were sent, for the report of a difference. */
  requests: unknown[] = [];
  disguise: Disguise = {};
  /** The last whole document of a request of the present step. */
  document: Buffer | undefined;
  /** The store as a step calls it. */
  readonly facade: EngineStore;
  private uploads: string[] = [];

  constructor(
    readonly store: EngineStore,
    private readonly pairs: VersionPairs,
  ) {
    this.facade = new Proxy(store, {
      get: (_target, name: string) => (request: unknown) => this.call(name, request),
    });
  }

  /** Begins a step. */
  begin(disguise: Disguise): void {
    this.observations = [];
    this.requests = [];
    this.uploads = [];
    this.document = undefined;
    this.disguise = disguise;
  }

  /** Adds an observation that is no call, such as a summary of several ones. */
  note(method: string, response: Plain): void {
    this.observations.push({ method, response });
  }

  /** Returns the observations of the present step as text. The ids of uploads are random, so that they have other names in it. */
  text(): string {
    return this.uploads.reduce(
      (text, id, index) => text.replaceAll(id, `upload ${index}`),
      JSON.stringify(this.observations),
    );
  }

  private async call(name: string, request: unknown): Promise<unknown> {
    const own = this.translated(request) as Arguments | undefined;
    const sent = own && (await this.disguised(name, own));
    this.requests.push({ [name]: sent });
    const method = this.store[name as keyof EngineStore] as Method;
    const { observation, value, error } = await observe(name, () =>
      // Engines divide the rows of an export into parts in their own way.
      name === "exportRuntime" ? exportContents(this.store, sent as never) : method.call(this.store, sent),
    );
    if (name.startsWith("upload") && typeof value === "string") this.uploads.push(value);
    this.observations.push(name === "getServerInfo" ? withoutIdentity(observation) : observation);
    if (error !== undefined) throw error as Error;
    return value;
  }

  private async disguised(name: string, request: Arguments): Promise<Arguments> {
    const { members } = this.disguise;
    const added =
      members && WITH_INPUTS.includes(name) ? { ...request, ...(this.translated(members) as object) } : request;
    const [member = "", record = "session_snapshot"] = DOCUMENTS[name] ?? [];
    const delta = added[member] as (Arguments & { profile?: string }) | undefined;
    const wholeMember = record === "ops_lifecycle" ? "opsSnapshot" : "sessionSnapshot";
    const document = delta?.[wholeMember];
    if (!(document instanceof Uint8Array)) return added;
    const { shape } = this.disguise;
    this.document = shape ? edited(shape, Buffer.from(document)) : Buffer.from(document);
    const profile = delta?.profile === undefined ? {} : { profile: delta.profile };
    if (shape?.kind === "patch") {
      const patch = this.translated(patchOf(shape, this.document));
      return { ...added, [member]: { patch, ...profile } };
    }
    if (shape?.kind === "upload") {
      const upload = { runtimeId: added["runtimeId"], record, ...uploadOf(shape, this.document) };
      const uploadId = await this.facade.uploadSessionSnapshot(upload as UploadSessionSnapshot);
      return { ...added, [member]: { uploadId, ...profile } };
    }
    return { ...added, [member]: { ...delta, [wholeMember]: this.document } };
  }

  /** Returns a copy of a request with the versions of this store. Bytes and streams stay as they are. */
  private translated(value: unknown): unknown {
    if (typeof value === "string") return this.pairs.toOwn(value);
    if (typeof value !== "object" || value === null) return value;
    if (value instanceof Uint8Array || Symbol.asyncIterator in value) return value;
    if (Array.isArray(value)) return value.map((item) => this.translated(item));
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, this.translated(member)]));
  }
}

/** The names of the engine and of the store differ by design. */
function withoutIdentity(observation: Observation): Observation {
  const { response } = observation;
  if (typeof response !== "object" || response === null || !("storeId" in response)) return observation;
  return { ...observation, response: { ...response, storeId: "", engine: "", durable: false } };
}
