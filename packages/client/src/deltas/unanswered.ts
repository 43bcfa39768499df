import { LRUCache } from "lru-cache";
import { OutcomeUnknownError, type UnchangedInputs, type Version } from "@bolthole/contract";
import type { HeldDocument } from "./held-documents.js";
import type { KnownRows } from "./known-rows.js";

/** What a request was made with, beside what the caller gave. */
export interface Basis {
  /** Of the patch that was sent. */
  readonly base?: HeldDocument | undefined;
  readonly uploadId?: string | undefined;
  /** Of the expected document. */
  readonly expected?: Version | undefined;
  /** The rows that did not travel. */
  readonly known?: KnownRows | undefined;
  readonly unchanged?: UnchangedInputs | undefined;
}

const MAX_REQUESTS = 1000;

/**
 * Requests whose outcome is not known. Their callers were told the request id, and may repeat the call with it: only the
 * same request gets the first answer, so it has to be made of the same basis again.
 */
export class Unanswered {
  private readonly requests: LRUCache<string, Basis>;

  /** `maxBytes`: of the documents and rows that are kept for it. */
  constructor(maxBytes: number) {
    this.requests = new LRUCache({ max: MAX_REQUESTS, maxSize: Math.max(MAX_REQUESTS, maxBytes) });
  }

  basisOf(requestId: string | undefined): Basis | undefined {
    return requestId === undefined ? undefined : this.requests.get(requestId);
  }

  /** The request was answered, or it will never be repeated as it was. */
  forget(requestId: string | undefined): void {
    if (requestId !== undefined) this.requests.delete(requestId);
  }

  /** Keeps the basis of a request that ended so; each part tells all its fields, since a repeat may have had another form. */
  note(error: unknown, part: Basis): void {
    if (!(error instanceof OutcomeUnknownError)) return;
    const basis = { ...this.requests.get(error.requestId), ...part };
    const size = 1 + (basis.base?.bytes.length ?? 0) + (basis.known?.bytes ?? 0);
    this.requests.set(error.requestId, basis, { size });
  }
}
