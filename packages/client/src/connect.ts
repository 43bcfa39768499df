import type { VersionedStore } from "@bolthole/contract";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { GrpcConnection } from "./connection.js";
import { createDeltaStore } from "./deltas/delta-store.js";
import { createGrpcStore } from "./grpc-store.js";
import { type ConnectOptions, resolveOptions } from "./options.js";

/** A store behind a daemon: the reference's contract, and beside it what only this store knows. */
export class BoltholeStore extends RuntimeStoreAdapter {
  constructor(
    /** Versions, request outcomes, listings and server facts; it sends what changed, as this store does. */
    readonly versioned: VersionedStore,
    storeId: string,
    private readonly connection: GrpcConnection,
  ) {
    super(versioned, storeId);
  }

  /** Calls under way fail. The daemon is not asked. */
  close(): Promise<void> {
    this.connection.close();
    return Promise.resolve();
  }
}

/**
 * Connects to a daemon at `unix:/path/bolthole.sock` or `127.0.0.1:7117` and learns which store it serves. Fails as
 * UNAVAILABLE when none answers in time.
 */
export async function connect(target: string, options: ConnectOptions = {}): Promise<BoltholeStore> {
  const resolved = resolveOptions(options);
  const connection = new GrpcConnection(target, resolved);
  try {
    const plain = createGrpcStore(connection);
    const { storeId, limits } = await plain.getServerInfo({});
    return new BoltholeStore(createDeltaStore(plain, limits, resolved), storeId, connection);
  } catch (error) {
    connection.close();
    throw error;
  }
}
