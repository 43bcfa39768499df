import { JsonError } from "../index.js";
import { ID, PROMPT, TIME, errorOf, promptWith, rowWith, stateWith } from "../testing/input-rows.js";
import { bytesOf, mismatch, stableResult, testVectors } from "../testing/vectors.js";
import { type StoredInputState, readInputState, readStoredInputState, writeInputState } from "./input-state.js";

testVectors("inputs.jsonl", "input rows are read and written as in the reference", (vector) => {
  const pass = (source: Uint8Array | string) => writeInputState(readInputState(source)).toString();
  return mismatch(vector, "reencoded", () => {
    const written = stableResult(pass(bytesOf(vector)), pass);
    const stored = readStoredInputState(Buffer.from(written));
    expect(stored).toEqual(readInputState(written));
    return written;
  });
});

describe("reading an input row", () => {
  test("an error has the path of the member and the byte", () => {
    const history = `,"history":[{"timestamp":"${TIME}","from":"queued","to":"staged"},{"timestamp":"soon"}]`;
    const error = errorOf(() => readInputState(rowWith(history)));
    expect(error.path).toBe("history[1].timestamp");
    expect(error.offset).toBe(rowWith(history).indexOf("soon"));
    expect(error.message).toContain("history[1].timestamp: expected an RFC 3339 timestamp");
  });

  test("an error names all missing members, also those of inner values, and no other problem", () => {
    const inner = rowWith(`,"history":[{"from":"queued"},{"timestamp":"${TIME}","to":"staged"}],"attempt_count":-1`);
    expect(errorOf(() => readInputState(inner)).message).toMatch(
      /^history\[0\]\.timestamp: the member is missing, and so are history\[0\]\.to and history\[1\]\.from \(byte \d+\)$/,
    );
    const { path, problems, message } = errorOf(() => readInputState("{}"));
    expect([path, problems.map((problem) => problem.path)]).toEqual([
      "input_id",
      ["input_id", "current_state", "created_at", "updated_at"],
    ]);
    expect(message).toBe(
      "input_id: the member is missing, and so are current_state, created_at and updated_at (byte 1)",
    );
  });

  test("after another problem, an error does not name members that were not read", () => {
    const wrong = `{"history":[{"timestamp":"${TIME}"},{"timestamp":"soon"}],${rowWith("").slice(1)}`;
    expect(errorOf(() => readInputState(wrong)).message).toMatch(
      /^history\[0\]\.from: the member is missing, and so is history\[0\]\.to \(byte \d+\)$/,
    );
    const reasons = `{"terminal_outcome":{"outcome_type":"abandoned","reason":{"max_attempts_exhausted":{} "x":1}},${rowWith("").slice(1)}`;
    expect(errorOf(() => readInputState(reasons)).message).toMatch(
      /^terminal_outcome\.reason\.max_attempts_exhausted\.attempts: the member is missing \(byte \d+\)$/,
    );
  });

  test("an error names few of many missing members, also of several values", () => {
    const several = rowWith(`,"policy":{"decision":{}},"history":[${Array<string>(20).fill("{}").join(",")}]`);
    const paths = errorOf(() => readInputState(several)).problems.map(({ path }) => path);
    expect(paths).toHaveLength(16);
    expect(paths.some((path) => path.startsWith("policy."))).toBe(true);
    expect(paths.some((path) => path.startsWith("history["))).toBe(true);

    const many = rowWith(`,"history":[${Array<string>(50_000).fill("{}").join(",")}]`);
    const { problems, message } = errorOf(() => readInputState(many));
    expect(problems).toHaveLength(16);
    expect(message).toContain("; there may be more problems");
  });

  test("the error text of a rule has neither a path nor a byte", () => {
    expect(errorOf(() => readInputState(rowWith(`,"stored_input_state_version":3`))).message).toBe(
      "generated session persistence version authority rejected StoredInputState: expected current 2 or legacy 1, got 3",
    );
  });

  test("a stored row is read like any other row", () => {
    const row = writeInputState(stateWith({ persistedInput: PROMPT, lastBoundarySequence: 2n ** 64n - 1n }));
    expect(readStoredInputState(row)).toEqual(readInputState(row));
    expect(() => readStoredInputState(row.subarray(0, -1))).toThrow(JsonError);
  });
});

describe("writing an input row", () => {
  const rejected: [string, Partial<Record<keyof StoredInputState, unknown>>, string][] = [
    ["an id that is not a UUID", { inputId: "x" }, "input_id"],
    ["an unknown state", { currentState: "lost" }, "current_state"],
    ["a lone surrogate", { idempotencyKey: "a\ud800" }, "idempotency_key"],
    ["a count of more than 32 bits", { attemptCount: 2 ** 32 }, "attempt_count"],
    ["a count with a fraction", { recoveryCount: 0.5 }, "recovery_count"],
    ["a negative sequence", { admissionSequence: -1n }, "admission_sequence"],
    ["a number in place of a bigint", { admissionSequence: 1 }, "admission_sequence"],
    [
      "a text that is not a timestamp",
      { history: [{ timestamp: "soon", from: "queued", to: "staged" }] },
      "history[0].timestamp",
    ],
    ["an outcome without its id", { terminalOutcome: { kind: "superseded" } }, "terminal_outcome.superseded_by"],
    ["an unknown outcome", { terminalOutcome: { kind: "lost" } }, "terminal_outcome.outcome_type"],
    ["a payload that is not an input", { persistedInput: `{"input_type":"mystery"}` }, "persisted_input.input_type"],
    ["two payloads", { persistedInput: `${PROMPT}{}` }, "persisted_input"],
    ["a missing time", { createdAt: undefined }, "created_at"],
  ];
  test.each(rejected)("%s is rejected", (_, changes, path) => {
    const error = errorOf(() => writeInputState(stateWith(changes as Partial<StoredInputState>)));
    expect(error.path).toBe(path);
  });

  test("other spellings are changed to the canonical ones", () => {
    const row = writeInputState(
      stateWith({
        inputId: `urn:uuid:${ID.toUpperCase()}`,
        createdAt: "2026-05-28T17:31:27.1+02:00",
        persistedInput: ` ${PROMPT.replace("hello", "h\\u0065llo")} `,
      }),
    );
    expect(row).toEqual(writeInputState(stateWith({ persistedInput: PROMPT })));
  });

  test("a payload is rejected when it is nested too deeply to be read inside the row", () => {
    const nested = (depth: number) => promptWith(`"turn_metadata":{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`);
    const row = writeInputState(stateWith({ persistedInput: nested(124) }));
    expect(readInputState(row).persistedInput).toBe(nested(124));
    expect(() => writeInputState(stateWith({ persistedInput: nested(125) }))).toThrow(JsonError);
  });
});
