import { createHash } from "node:crypto";
import type { VersionedStore } from "@bolthole/contract";
import {
  AdminService,
  RuntimeStoreService,
  encodeInputState,
  encodeMessage,
  file_grpc_health_v1_health,
  grpcMethod,
  storeCodecs,
} from "@bolthole/contract/wire";
import {
  type DescField,
  type DescMessage,
  type DescService,
  type Message,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { framed } from "@bolthole/conformance/http2-frames";
import { RuntimeState } from "../load/operation.js";
import { makeOauthUpdate, makeOperation } from "../load/operations.js";
import { INSTANT, freshId, inputRow } from "../load/records.js";
import { SessionScript } from "../load/session-script.js";
import type { Random } from "../random.js";

const DEEPEST = 6;
const IDS = Array.from({ length: 4 }, (_, index) => `0198f0a0-0000-7000-8000-00000000000${String(index)}`);

/** Makes a message of any type from its descriptor. The name of a field determines the form of its value. */
function plausibleMessage(desc: DescMessage, random: Random, depth = 0): Message {
  const message = reflect(desc);
  for (const field of desc.fields) {
    if (field.oneof) continue;
    // Random expectations and request ids mostly cause a refusal before the rules are checked.
    const isExtra = field.name.startsWith("expected_") || field.name === "request_id" || field.name === "profile";
    if (isExtra ? random.oneIn(8) : depth === 0 || !random.oneIn(4)) fill(message, field, random, depth);
  }
  for (const { fields } of desc.oneofs) {
    const field = fields[random.below(fields.length)];
    if (field) fill(message, field, random, depth);
  }
  return message.message;
}

function fill(message: ReflectMessage, field: DescField, random: Random, depth: number): void {
  if (field.fieldKind === "list") {
    const list = message.get(field);
    for (let count = random.below(3); count > 0 && depth < DEEPEST; count -= 1) {
      list.add(value(field.listKind, field, random, depth));
    }
  } else if (field.fieldKind === "map") {
    const map = message.get(field);
    for (let count = random.below(3); count > 0 && depth < DEEPEST; count -= 1) {
      map.set(scalar(field.mapKey, "id", random), value(field.mapKind, field, random, depth));
    }
  } else if (field.fieldKind !== "message" || depth < DEEPEST) {
    message.set(field, value(field.fieldKind, field, random, depth));
  }
}

function value(kind: "scalar" | "enum" | "message", field: DescField, random: Random, depth: number): unknown {
  switch (kind) {
    case "scalar":
      return scalar(field.scalar ?? ScalarType.STRING, field.name, random);
    case "enum":
      return enumValue(field.enum?.values ?? [], random);
    case "message":
      if (!field.message) throw new TypeError(`${field.name} has no message type`);
      return reflect(field.message, plausibleMessage(field.message, random, depth + 1));
  }
}

const enumValue = (values: readonly { readonly number: number }[], random: Random): number =>
  values[values.length > 1 ? 1 + random.below(values.length - 1) : 0]?.number ?? 0;

function scalar(type: ScalarType, name: string, random: Random): unknown {
  switch (type) {
    case ScalarType.STRING:
      return text(name, random);
    case ScalarType.BYTES:
      return bytes(name, random);
    case ScalarType.BOOL:
      return random.oneIn(2);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return random.below(1000) / 7;
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BigInt(random.below(5));
    case ScalarType.INT32:
    case ScalarType.UINT32:
    case ScalarType.SINT32:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return name === "record_version" ? 1 : random.below(5);
  }
}

function text(name: string, random: Random): string {
  if (name === "runtime_id") return `fuzz ${String(random.below(20))}`;
  if (name === "request_id") return freshId();
  if (name === "page_token") return "";
  if (name === "service") return random.pick(["", "bolthole.v1.RuntimeStoreService", "bolthole.v1.AdminService"]);
  if (name === "session_json") return document(random).toString();
  if (name.endsWith("_json")) return `{"n":${String(random.below(10))},"text":"x"}`;
  if (name.endsWith("_at") || name === "timestamp") return INSTANT;
  if (name.endsWith("id") || name.endsWith("ids") || name === "session_store_key")
    return random.pick([...IDS] as [string]);
  if (name.endsWith("version")) return "epoch.1";
  return `${name} ${String(random.below(100))}`;
}

function bytes(name: string, random: Random): Uint8Array {
  if (name === "session_snapshot") return document(random);
  if (name === "sha256") return Buffer.alloc(32, random.below(256));
  return Buffer.alloc(random.below(200), random.below(256));
}

function document(random: Random): Buffer {
  const script = new SessionScript(IDS[0] ?? "", 50, random);
  return script.document(script.next(random, freshId()));
}

/** One request and its RPC. */
export interface FuzzCall {
  readonly path: string;
  readonly message: Buffer;
  /** The messages of a request stream after the first one, in their frames. They are never changed. */
  readonly rest?: Buffer;
  /** Whether the response stream never ends. */
  readonly isEndless: boolean;
  /** Whether our code serves the RPC, and not a library. */
  readonly isOurs: boolean;
}

const POOL = 1500;
/** The number of requests after which half of the pool is replaced. */
const USES = 30_000;
const SIZE = { firstMessageBytes: 60, documentBytes: 30_000 };
const REFLECTION = ["grpc.reflection.v1", "grpc.reflection.v1alpha"].map(
  (name) => `/${name}.ServerReflection/ServerReflectionInfo`,
);

/** A pool of valid requests of every RPC: some from the load, some made from the descriptors. */
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

  /** Returns valid requests in an order in which a runtime sends them, and after them some of each RPC. */
  inOrder(): FuzzCall[] {
    return [
      ...this.ofTheLoad(POOL / 4),
      ...this.ofReflection(4),
      ...this.ofDescriptors(4),
      ...singleUploads(this.random, 4),
      ...imports(this.random, 4),
    ];
  }

  /** The paths of all RPCs of the daemon. */
  static get paths(): string[] {
    return [...SERVICES.flatMap(pathsOf), ...REFLECTION];
  }

  private renew(): void {
    const kept = this.pool.filter(() => this.random.oneIn(2));
    const made = [
      ...this.ofTheLoad(POOL / 4),
      ...this.ofDescriptors(8),
      ...this.ofReflection(20),
      ...singleUploads(this.random, 20),
      ...imports(this.random, 20),
    ];
    this.pool = [...made, ...kept.slice(0, POOL)];
  }

  /** Makes successive requests, as a runtime sends them. */
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

/** A store that records the encoded requests and returns placeholder responses. */
function recordingStore(calls: FuzzCall[]): VersionedStore {
  const methods = Object.entries(storeCodecs).map(([name, codec]) => {
    const { method, encodeRequest } = codec as unknown as {
      readonly method: { readonly name: string; readonly input: DescMessage };
      encodeRequest(request: unknown): never;
    };
    const path = `/${RuntimeStoreService.typeName}/${method.name}`;
    // An upload is a stream of messages, which cannot be recorded as one.
    if (codec.kind === "upload") return [name, () => Promise.resolve(IDS[0])];
    const record = (request: unknown): Promise<object> => {
      const message = encodeMessage(method.input, encodeRequest(request));
      calls.push({ path, message, isEndless: false, isOurs: true });
      return Promise.resolve({ version: "epoch.1", replayed: false, updated: true });
    };
    return [name, record];
  });
  return Object.fromEntries(methods) as VersionedStore;
}

/** Makes imports of a runtime with one input row: of the start, which is mutated, and of the row. */
function imports(random: Random, each: number): FuzzCall[] {
  const { importRuntime } = AdminService.method;
  return Array.from({ length: each }, () => {
    const [id = ""] = IDS;
    const value = encodeInputState(inputRow(random, id, freshId()));
    const row = new BinaryWriter().tag(2, 2).fork().tag(4, 2).bytes(value).join().finish();
    return {
      path: grpcMethod(importRuntime).path,
      message: encodeMessage(importRuntime.input, { start: { runtimeId: "fuzz imports", overwrite: true } }),
      rest: framed(Buffer.from(row)),
      isEndless: false,
      isOurs: true,
    };
  });
}

/** Makes uploads that consist of one message: of an empty document, and of a few input rows. */
function singleUploads(random: Random, each: number): FuzzCall[] {
  const { uploadSessionSnapshot, uploadInputStates } = RuntimeStoreService.method;
  const sha256 = createHash("sha256").digest();
  const document = { runtimeId: "fuzz uploads", length: 0n, sha256 };
  const ofDocument = (): FuzzCall => ({
    path: grpcMethod(uploadSessionSnapshot).path,
    message: encodeMessage(uploadSessionSnapshot.input, { part: { case: "upload", value: document } }),
    isEndless: false,
    isOurs: true,
  });
  const ofRows = (): FuzzCall => {
    const ids = IDS.slice(random.below(IDS.length));
    const upload = { runtimeId: "fuzz uploads", rowCount: BigInt(ids.length) };
    const states = new BinaryWriter();
    for (const id of ids) states.tag(2, 2).bytes(encodeInputState(inputRow(random, id, freshId())));
    return {
      path: grpcMethod(uploadInputStates).path,
      message: Buffer.concat([encodeMessage(uploadInputStates.input, { upload }), states.finish()]),
      isEndless: false,
      isOurs: true,
    };
  };
  return Array.from({ length: each }, () => [ofDocument(), ofRows()]).flat();
}
