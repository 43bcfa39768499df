import { OutcomeUnknownError, type UnchangedInputs, type Version } from "@bolthole/contract";
import { ByteBudgetCache } from "./byte-budget-cache.js";
import type { CachedDocument } from "./document-cache.js";
import type { CachedRows } from "./input-row-cache.js";

/** The parts of a sent request that do not follow from the caller's arguments. */
export interface RequestForm {
  /** The base of the patch that replaced the document. Absent: the document was sent in full. */
  readonly base?: CachedDocument | undefined;
  /** The upload that the request named instead of the document. */
  readonly uploadId?: string | undefined;
  /** The version that replaced the expected document. Absent: its SHA-256 was sent. */
  readonly expectedVersion?: Version | undefined;
  /** The input rows that were left out as unchanged. Absent: all rows were sent. */
  readonly omittedRows?: CachedRows | undefined;
  readonly unchangedInputs?: UnchangedInputs | undefined;
}

const MAX_REQUESTS = 1000;

/**
 * The forms of requests whose outcome is unknown.
 *
 * A caller gets the request id of such a request in an `OutcomeUnknownError` and may repeat the call with it. The daemon
 * returns the first response only to an equal request, so the repeated request must be made in the same form.
 */
export class RetryCache {
  private readonly forms: ByteBudgetCache<RequestForm>;

  /** `maxBytes` limits the documents and rows that the forms hold. */
  constructor(maxBytes: number) {
    // Each form counts as one byte at least, so forms without documents and rows are kept even with a budget of 0.
    this.forms = new ByteBudgetCache(Math.max(MAX_REQUESTS, maxBytes), MAX_REQUESTS);
  }

  /** Returns the form of a request whose outcome is unknown. Undefined for every other request, and for no request id. */
  formOf(requestId: string | undefined): RequestForm | undefined {
    return requestId === undefined ? undefined : this.forms.get(requestId);
  }

  /** Forgets a request that got its response, or that cannot be repeated in its form. */
  forget(requestId: string | undefined): void {
    if (requestId !== undefined) this.forms.delete(requestId);
  }

  /**
   * Keeps the form of a request if `error` says that its outcome is unknown. `form` must have every field of its part of
   * the request, also undefined ones: an earlier attempt may have had another form.
   */
  record(error: unknown, form: RequestForm): void {
    if (!(error instanceof OutcomeUnknownError)) return;
    const merged = { ...this.forms.peek(error.requestId), ...form };
    const bytes = 1 + (merged.base?.bytes.length ?? 0) + (merged.omittedRows?.bytes ?? 0);
    this.forms.set(error.requestId, merged, bytes);
  }
}
