import { createHash } from "node:crypto";
import { type DescMessage, type DescService, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { VersionedStore } from "@bolthole/contract";
import {
  AdminService,
  RuntimeStoreService,
  encodeMessage,
  file_grpc_health_v1_health,
  grpcMethod,
  storeCodecs,
} from "@bolthole/contract/wire";
import { makeOauthUpdate, makeOperation } from "../load/make-operation.js";
import { RuntimeState } from "../load/runtime-state.js";
import type { Random } from "../random.js";
import { plausibleMessage } from "./plausible-message.js";

/** One request, and where it goes. */
export interface FuzzCall {
  readonly path: string;
  readonly message: Buffer;
  /** Its answer has no end of its own. */
  readonly isEndless: boolean;
  /** Served by our code, or by a library that speaks for us. */
  readonly isOurs: boolean;
}

const POOL = 1500;
/** So many requests are made from the pool before half of it is made anew. */
const USES = 30_000;
const SIZE = { firstMessageBytes: 60, documentBytes: 30_000 };
const REFLECTION = ["grpc.reflection.v1", "grpc.reflection.v1alpha"].map(
  (name) => `/${name}.ServerReflection/ServerReflectionInfo`,
);

/** Valid requests of every RPC of the daemon: those of the load, and those that the descriptors alone tell of. */
export class Seeds {
  private pool: FuzzCall[] = [];
  private uses = 0;
  private generation = 0;

  constructor(private readonly random: Random) {
    this.renew();
  }

  next(): FuzzCall {
    this.uses += 1;
    if (this.uses % USES === 0) this.renew();
    return this.pool[this.random.below(this.pool.length)] as FuzzCall;
  }

  /** Every RPC there is. */
  static get paths(): string[] {
    return [...SERVICES.flatMap(pathsOf), ...REFLECTION];
  }

  private renew(): void {
    const kept = this.pool.filter(() => this.random.oneIn(2));
    const made = [...this.ofTheLoad(POOL / 4), ...this.ofDescriptors(8), ...this.ofReflection(20), ...emptyUploads(20)];
    this.pool = [...made, ...kept.slice(0, POOL)];
  }

  /** Requests that follow each other, as a runtime sends them. */
  private ofTheLoad(count: number): FuzzCall[] {
    const calls: FuzzCall[] = [];
    const recorder = recordingStore(calls);
    this.generation += 1;
    let state = new RuntimeState(`fuzz load ${String(this.generation)}`, SIZE, this.random);
    for (let index = 0; calls.length < count; index += 1) {
      if (index % 40 === 39) {
        this.generation += 1;
        state = new RuntimeState(`fuzz load ${String(this.generation)}`, SIZE, this.random);
      }
      const operation = index % 20 === 0 ? makeOauthUpdate(undefined) : makeOperation(this.random, state);
      void operation.send(recorder, {});
      operation.adopt("epoch.1");
    }
    return calls;
  }

  private ofDescriptors(each: number): FuzzCall[] {
    return SERVICES.flatMap((service) =>
      service.methods.flatMap((method) =>
        Array.from({ length: each }, () => ({
          path: `/${service.typeName}/${method.name}`,
          message: encoded(method.input, this.random),
          isEndless: method.name === "Watch",
          isOurs: OURS.includes(service),
        })),
      ),
    );
  }

  private ofReflection(count: number): FuzzCall[] {
    const names = ["bolthole/v1/store.proto", "bolthole.v1.RuntimeStoreService", "bolthole.v1.SessionDelta", "*", ""];
    return Array.from({ length: count }, () => {
      const writer = new BinaryWriter().tag(1, 2).string("host");
      const member = this.random.pick([3, 4, 5, 6, 7]);
      writer.tag(member, 2);
      if (member === 5) writer.fork().tag(1, 2).string("google.protobuf.FieldOptions").tag(2, 0).int32(50_000).join();
      else writer.string(names[this.random.below(names.length)] ?? "");
      const path = this.random.pick(REFLECTION as [string, string]);
      return { path, message: Buffer.from(writer.finish()), isEndless: false, isOurs: false };
    });
  }
}

const OURS: readonly DescService[] = [RuntimeStoreService, AdminService];
const SERVICES: readonly DescService[] = [...OURS, ...file_grpc_health_v1_health.services];

const pathsOf = (service: DescService): string[] =>
  service.methods.map((method) => `/${service.typeName}/${method.name}`);

const encoded = (desc: DescMessage, random: Random): Buffer =>
  Buffer.from(toBinary(desc, plausibleMessage(desc, random)));

/** A store that keeps what it is asked, in its form on the wire, and answers nothing of use. */
function recordingStore(calls: FuzzCall[]): VersionedStore {
  const methods = Object.entries(storeCodecs).map(([name, codec]) => {
    const { method, encodeRequest } = codec as unknown as {
      readonly method: { readonly name: string; readonly input: DescMessage };
      encodeRequest(request: unknown): never;
    };
    const path = `/${RuntimeStoreService.typeName}/${method.name}`;
    const record = (request: unknown): Promise<object> => {
      const message = encodeMessage(method.input, encodeRequest(request));
      calls.push({ path, message, isEndless: false, isOurs: true });
      return Promise.resolve({ version: "epoch.1", replayed: false, updated: true });
    };
    return [name, record];
  });
  return Object.fromEntries(methods) as VersionedStore;
}

/** Uploads that are whole after their first message. */
function emptyUploads(count: number): FuzzCall[] {
  const method = RuntimeStoreService.method.uploadSessionSnapshot;
  const sha256 = createHash("sha256").digest();
  const upload = { runtimeId: "fuzz uploads", length: 0n, sha256 };
  const message = encodeMessage(method.input, { part: { case: "upload", value: upload } });
  return Array.from({ length: count }, () => ({
    path: grpcMethod(method).path,
    message,
    isEndless: false,
    isOurs: true,
  }));
}
