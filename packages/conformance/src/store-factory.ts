import type { HorizonControl, RuntimeStore, RuntimeTransfer, VersionedStore } from "@bolthole/contract";

/**
 * The promises of a store implementation. A case that needs a capability which is false here is skipped, and reported as
 * skipped with the name of the capability.
 */
export interface Capabilities {
  /** Acknowledged changes are still there after `close` and another `open` of the same site. */
  readonly durable: boolean;
  /** Handles have `versioned`. */
  readonly versions: boolean;
  /** Session documents are checked by the reference's transcript rules, not only as JSON with a session id. */
  readonly transcriptRules: boolean;
  /** Every unsigned 64-bit sequence is a distinct receipt key (contract 4.3). */
  readonly fullSequences: boolean;
  /** Handles have `hold`. */
  readonly holds: boolean;
  /** Handles have `putRawRow`: the store uses the tables of the reference (contract 13.1). */
  readonly rawRows: boolean;
  /** Handles have `transfer`. */
  readonly transfers: boolean;
}
export type Capability = keyof Capabilities;

/** An external row: a row that another program writes into a table of the reference, without the store. */
export interface RawRow {
  readonly table: string;
  /** The key columns by name. A sequence is a bigint. */
  readonly key: Readonly<Record<string, string | bigint>>;
  readonly value: Buffer;
}

/** One opened store. */
export interface StoreHandle {
  readonly store: RuntimeStore;
  /** The same store with versions, request ids and expectations. */
  readonly versioned?: VersionedStore | undefined;
  /** The export and import of whole runtimes of the same store, and its horizon. */
  readonly transfer?: (RuntimeTransfer & HorizonControl) | undefined;
  /** Stops every mutation before the writer until the returned function is called. `holdable` is a way to build this. */
  readonly hold?: (() => () => void) | undefined;
  /** Writes an external row, as another program would. */
  readonly putRawRow?: ((row: RawRow) => Promise<void>) | undefined;
  close(): Promise<void>;
}

/** A place for one store's data, empty at first. At most one handle is open at a time. */
export interface StoreSite {
  /** Opens the store. A durable store returns a new handle on the same data each time. */
  open(): Promise<StoreHandle>;
  /** Removes the data. Called once, after the last handle is closed. */
  remove(): Promise<void>;
}

/**
 * A store implementation as the test kit sees it. Set the limits `documentBytes` and `operationSnapshotBytes` of the store to
 * a few MiB, at least 4: the suite sends documents above every advertised limit.
 */
export interface StoreFactory {
  readonly capabilities: Capabilities;
  /** Creates an empty site. Every case, and every recorded trace, gets a new one. */
  createSite(): Promise<StoreSite>;
}

/** An object one of whose methods can be held back. */
export interface Holdable<T> {
  readonly target: T;
  /** Holds back calls of the method until the returned function is called. */
  hold(): () => void;
}

/**
 * Wraps an object so that calls of one asynchronous method can be held back. Held calls reach the object later, in the
 * order in which they were made. A factory wraps the method that leads to its writer, to offer `hold`.
 */
export function holdable<T extends object>(target: T, method: keyof T): Holdable<T> {
  let gate: Promise<void> | undefined;
  const held = new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property, object);
      if (typeof value !== "function") return value;
      if (property !== method) return value.bind(object) as unknown;
      return async (...args: unknown[]): Promise<unknown> => {
        await gate;
        return Reflect.apply(value, object, args) as unknown;
      };
    },
  });
  return {
    target: held,
    hold() {
      let open = (): void => undefined;
      gate = new Promise((resolve) => {
        open = resolve;
      });
      return () => {
        gate = undefined;
        open();
      };
    },
  };
}
