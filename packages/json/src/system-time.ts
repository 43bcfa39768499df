import type { SystemTime } from "./model/index.js";
import { OPEN_LIST } from "./ascii.js";
import { JsonError } from "./json-error.js";
import type { JsonReader } from "./reader.js";
import { U32, U64 } from "./scalar.js";
import { required } from "./field.js";
import type { Shape } from "./shape.js";
import { closedStruct } from "./struct.js";

const NANOS_PER_SECOND = 1_000_000_000;
const I64_MAX = 0x7fffffffffffffffn;
const U64_MAX = 0xffffffffffffffffn;

const FIELDS = closedStruct<SystemTime>("a system time", {
  seconds: required("secs_since_epoch", U64),
  nanos: required("nanos_since_epoch", U32),
});

/** An object, or on reading also the pair of its two numbers; surplus nanoseconds carry over (sections 7.1 and 15.10). */
export const SYSTEM_TIME: Shape<SystemTime> = {
  label: FIELDS.label,
  read: (reader) => carried(reader.peek() === OPEN_LIST ? readPair(reader) : FIELDS.read(reader)),
  write(value, out) {
    if (typeof value === "object" && value !== null && !(value.nanos < NANOS_PER_SECOND)) {
      throw JsonError.at("expected less than a second", undefined, "nanos_since_epoch");
    }
    if (typeof value === "object" && value !== null && value.seconds > I64_MAX) {
      throw JsonError.at("expected at most 2^63-1 seconds", undefined, "secs_since_epoch");
    }
    FIELDS.write(value, out);
  },
};

function readPair(reader: JsonReader): SystemTime {
  reader.openList();
  if (!reader.nextElement(true)) throw reader.error("expected seconds and nanoseconds", reader.position - 1);
  const seconds = U64.read(reader);
  if (!reader.nextElement(false)) throw reader.error("expected seconds and nanoseconds", reader.position - 1);
  const nanos = U32.read(reader);
  if (reader.nextElement(false)) throw reader.error("expected no more than seconds and nanoseconds");
  return { seconds, nanos };
}

function carried({ seconds, nanos }: SystemTime): SystemTime {
  const total = seconds + BigInt(Math.floor(nanos / NANOS_PER_SECOND));
  if (total > U64_MAX) throw JsonError.rule("overflow deserializing SystemTime epoch offset");
  if (total > I64_MAX) throw JsonError.rule("overflow deserializing SystemTime");
  return { seconds: total, nanos: nanos % NANOS_PER_SECOND };
}
