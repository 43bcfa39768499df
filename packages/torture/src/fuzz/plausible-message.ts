import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { freshId } from "../load/records.js";
import { SessionScript } from "../load/session-script.js";
import { INSTANT } from "../load/transcript-prose.js";
import type { Random } from "../random.js";

const DEEPEST = 6;
const IDS = Array.from({ length: 4 }, (_, index) => `0198f0a0-0000-7000-8000-00000000000${String(index)}`);

/** A message of any type with every member that its descriptor names, each with a value of the kind that its name promises. */
export function plausibleMessage(desc: DescMessage, random: Random, depth = 0): Message {
  const message = reflect(desc);
  for (const field of desc.fields) {
    if (field.oneof) continue;
    // Expectations and request ids mostly turn a request away before its rules are met.
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
