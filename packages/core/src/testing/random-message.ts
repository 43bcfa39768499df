import fc from "fast-check";
import { type Member, type Specimen, written } from "./specimen.js";

export const plain = (value: number | boolean | null): Specimen => ({ kind: "plain", json: String(value) });
export const name = (value: string): Specimen => ({ kind: "plain", json: JSON.stringify(value) });
const text = (value: string): Specimen => ({ kind: "text", text: value });
export const list = (items: readonly Specimen[]): Specimen => ({ kind: "list", items });
export const member = (memberName: string, value: Specimen, isDefault = false): Member => ({
  name: memberName,
  value,
  isDefault,
});
export const absent = (memberName: string): Member => ({ name: memberName, value: plain(null), isAbsent: true });
export const struct = (...members: readonly Member[]): Specimen => ({ kind: "struct", members, isOpen: true });
export const closed = (...members: readonly Member[]): Specimen => ({ kind: "struct", members, isOpen: false });

const TEXT = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.constantFrom(
    "",
    "hello",
    'quote " and \\',
    "line\nline\t/",
    "\u0001\u001f\u007f",
    "é\u2028😀\uffff",
    "a".repeat(99),
  ),
);
const TIME = fc
  .record({
    day: fc.integer({ min: 1, max: 28 }),
    hour: fc.integer({ min: 0, max: 23 }),
    second: fc.integer({ min: 0, max: 60 }),
    nanos: fc.constantFrom("", ".100", ".123456", ".123456789", ".000000001", ".120"),
  })
  .map(({ day, hour, second, nanos }): Specimen => {
    const two = (value: number): string => String(value).padStart(2, "0");
    return { kind: "time", text: `2026-02-${two(day)}T${two(hour)}:07:${two(second)}${nanos}Z` };
  });
const INTEGER = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 53 - 1)).map(plain);
const WORD = TEXT.map(text);

const FREE: fc.Arbitrary<Specimen> = fc.letrec<{ value: Specimen }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: "free" },
    fc.oneof(
      WORD,
      INTEGER,
      fc.integer({ min: -4000, max: 4000 }).map((eighths): Specimen => ({ kind: "eighths", eighths })),
      fc.constantFrom(plain(true), plain(false), plain(null)),
    ),
    fc.array(tie("value"), { maxLength: 3 }).map(list),
    fc.uniqueArray(TEXT, { maxLength: 4 }).chain((names) =>
      fc.tuple(...names.map(() => tie("value"))).map((values): Specimen => ({
        kind: "map",
        members: names.map((one, index) => member(one, values[index] ?? plain(null))),
      })),
    ),
  ),
})).value;

const CONTENT: fc.Arbitrary<Specimen> = fc.oneof(
  TEXT.map((value): Specimen => ({ kind: "content", text: value })),
  fc
    .tuple(WORD, WORD)
    .map(([first, second]) =>
      list([
        struct(member("type", name("text")), member("text", first)),
        struct(
          member("type", name("image")),
          member("media_type", name("image/png")),
          member("source", name("blob")),
          member("blob_id", second),
        ),
      ]),
    ),
  fc.constant(list([])),
);

const META = fc.oneof(
  fc.constant(absent("meta")),
  WORD.map((value) => member("meta", struct(member("provider", name("anthropic")), member("signature", value)))),
  fc
    .tuple(WORD, WORD)
    .map(([id, phase]) =>
      member(
        "meta",
        struct(
          member("provider", name("open_ai")),
          member("id", id),
          absent("encrypted_content"),
          member("phase", phase),
        ),
      ),
    ),
);
const block = (type: string, ...members: readonly Member[]): Specimen =>
  struct(member("block_type", name(type)), member("data", struct(...members)));
const BLOCK = fc.oneof(
  fc.tuple(WORD, META).map(([value, meta]) => block("text", member("text", value), meta)),
  fc.tuple(TEXT, META).map(([value, meta]) => block("reasoning", member("text", text(value), value === ""), meta)),
  fc
    .tuple(WORD, WORD, FREE, META)
    .map(([id, tool, args, meta]) =>
      block("tool_use", member("id", id), member("name", tool), member("args", args), meta),
    ),
  fc
    .tuple(WORD, FREE, META)
    .map(([tool, content, meta]) =>
      block("server_tool_content", absent("id"), member("name", tool), member("content", content), meta),
    ),
  fc
    .tuple(fc.uuid(), WORD)
    .map(([id, prompt]) =>
      block(
        "image",
        member("image_id", { kind: "uuid", text: id }),
        member("blob_ref", struct(member("blob_id", prompt), member("media_type", name("image/png")))),
        member("media_type", name("image/webp")),
        member("width", plain(640)),
        member("height", plain(0)),
        member("revised_prompt", struct(member("disposition", name("unchanged")))),
        member(
          "meta",
          struct(member("provider", name("gemini")), member("target_model", prompt), absent("response_id")),
        ),
      ),
    ),
);

const NOTICE_BLOCK = fc.oneof(
  fc
    .boolean()
    .map((persisted) =>
      closed(
        member("type", name("mcp")),
        member("server_id", name("s")),
        absent("operation"),
        member("persisted", plain(persisted), !persisted),
        absent("detail"),
      ),
    ),
  fc
    .tuple(WORD, FREE)
    .map(([kind, payload]) =>
      closed(
        member("type", name("comms")),
        member("kind", kind),
        member("direction", name("incoming")),
        absent("peer"),
        member("summary", kind),
        ...(written(payload) === "null" ? [] : [member("payload", payload)]),
      ),
    ),
  fc
    .tuple(fc.boolean(), fc.nat())
    .map(([changed, revision]) =>
      closed(
        member("type", name("tool_config")),
        member(
          "payload",
          closed(
            member("operation", name("reload")),
            member("target", name("tools")),
            member(
              "status",
              name(`boundary_applied(base_changed=${changed},visible_changed=true,revision=${revision})`),
              true,
            ),
            member(
              "status_info",
              closed(
                member("kind", name("boundary_applied")),
                member("base_changed", plain(changed)),
                member("visible_changed", plain(true)),
                member("revision", plain(revision)),
              ),
            ),
            member("persisted", plain(true)),
            absent("domain"),
          ),
        ),
      ),
    ),
);

const STOP = fc.constantFrom("end_turn", "tool_use", "max_tokens").map((reason) => member("stop_reason", name(reason)));
const message = (role: string, created: Specimen, ...members: readonly Member[]): Specimen =>
  struct(member("role", name(role)), ...members, member("created_at", created));

export const SYSTEM_MESSAGE = fc
  .tuple(TEXT, TIME)
  .map(([content, at]) => message("system", at, member("content", text(content))));

/** Generates messages of every role, with members of every kind. */
export const MESSAGE: fc.Arbitrary<Specimen> = fc.oneof(
  fc
    .tuple(CONTENT, TIME)
    .map(([content, at]) => message("user", at, member("content", content), absent("render_metadata"))),
  fc
    .tuple(CONTENT, TIME)
    .map(([content, at]) =>
      message(
        "user",
        at,
        member("content", content),
        member(
          "render_metadata",
          struct(member("class", name("user_prompt")), member("salience", name("normal"), true)),
        ),
      ),
    ),
  fc
    .tuple(fc.array(BLOCK, { maxLength: 3 }), STOP, TIME)
    .map(([blocks, stop, at]) => message("block_assistant", at, member("blocks", list(blocks)), stop)),
  fc
    .tuple(WORD, CONTENT, fc.boolean(), TIME)
    .map(([id, content, isError, at]) =>
      message(
        "tool_results",
        at,
        member(
          "results",
          list([
            struct(member("tool_use_id", id), member("content", content), member("is_error", plain(isError), !isError)),
          ]),
        ),
      ),
    ),
  fc
    .tuple(WORD, FREE, STOP, TIME)
    .map(([content, args, stop, at]) =>
      message(
        "assistant",
        at,
        member("content", content),
        member("tool_calls", list([struct(member("id", content), member("name", content), member("args", args))])),
        stop,
        member("usage", usage(7)),
      ),
    ),
  fc
    .tuple(fc.constantFrom("mcp_pending", "generic", "comms"), fc.array(NOTICE_BLOCK, { maxLength: 2 }), TIME)
    .map(([kind, blocks, at]) =>
      message(
        "system_notice",
        at,
        member("kind", name(kind)),
        absent("body"),
        ...(blocks.length === 0 ? [] : [member("blocks", list(blocks))]),
      ),
    ),
  SYSTEM_MESSAGE,
);

export const usage = (tokens: number): Specimen =>
  struct(
    member("input_tokens", plain(tokens)),
    member("output_tokens", plain(0)),
    member("cache_creation_tokens", plain(null), true),
    member("cache_read_tokens", plain(null), true),
  );
