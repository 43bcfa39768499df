import {
  type Call,
  type Fail,
  type VersionedStore,
  checkCall,
  converted,
  readFailed,
  writeFailed,
} from "@bolthole/contract";
import {
  InvalidArgumentError,
  type StoreCodecs,
  checkFields,
  inside,
  isMutation,
  requireObject,
  shown,
  storeCodecs,
} from "@bolthole/contract/wire";

type Method = (request: unknown, call?: Call) => Promise<unknown>;
type AnyCodec = StoreCodecs[keyof StoreCodecs];

/**
 * Returns a store that checks every argument before it calls the same method of `store`. A wrong one rejects as
 * INVALID_ARGUMENT that names it, and nothing is sent. The types of the messages are the table of the checks: each request is
 * converted to the form in which it would be sent. `refuse` throws when the store must not be used any more.
 */
export function createCheckedStore(store: VersionedStore, refuse: (fail: Fail) => void): VersionedStore {
  const methods = Object.entries(storeCodecs).map(([name, codec]) => {
    const method = store[name as keyof VersionedStore] as Method;
    const fail = codec.kind === "upload" || isMutation(codec.method) ? writeFailed : readFailed;
    const checked = async (request: unknown, call?: Call): Promise<unknown> => {
      refuse(fail);
      checkCall(call, fail);
      converted("request", fail, () => {
        requireObject(request);
      });
      converted("", fail, () => {
        checkRequest(codec, request as object);
      });
      return method(request, call);
    };
    return [name, checked];
  });
  return Object.fromEntries(methods) as VersionedStore;
}

/** Throws for a member that does not exist, in the request or inside of it. */
function refuseUnknown(codec: AnyCodec, request: object): void {
  try {
    codec.refuseUnknown?.(request as never);
  } catch (error) {
    // A member of the request itself has no path.
    throw error instanceof InvalidArgumentError && error.field in request ? inside("request", error) : error;
  }
}

function checkRequest(codec: AnyCodec, request: object): void {
  if (codec.kind !== "upload") {
    checkFields(codec.method.input, codec.encodeRequest(request as never));
    refuseUnknown(codec, request);
    return;
  }
  checkFields(codec.method.input, codec.encodeStart(request as never));
  refuseUnknown(codec, request);
  const { chunks, parts } = request as { readonly chunks?: unknown; readonly parts?: unknown };
  const [name, source] = chunks === undefined ? ["parts", parts] : ["chunks", chunks];
  const isSource =
    typeof (source as Partial<AsyncIterable<unknown>> | undefined)?.[Symbol.asyncIterator] === "function";
  if (!isSource) throw new InvalidArgumentError(name, "an async iterable", shown(source));
}
