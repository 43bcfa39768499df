import { OutcomeUnknownError, StoreError } from "./store-error.js";
import { InvalidArgumentError } from "./wire/message-codec.js";

interface Copy {
  readonly StoreError: typeof StoreError;
  readonly OutcomeUnknownError: typeof OutcomeUnknownError;
  readonly InvalidArgumentError: typeof InvalidArgumentError;
}

/** Loads the error classes once more, as a program with two versions of this package does. */
function secondCopy(): Copy {
  let copy: Copy | undefined;
  jest.isolateModules(() => {
    copy = {
      ...jest.requireActual("./store-error.js"),
      ...jest.requireActual("./wire/message-codec.js"),
    };
  });
  if (!copy) throw new Error("the modules were not loaded");
  return copy;
}

const copy = secondCopy();
const failed = ["WriteFailed", "BUSY", "too many requests"] as const;

test("the second copy has other classes than the first one", () => {
  expect(copy.StoreError).not.toBe(StoreError);
  expect(Object.getPrototypeOf(new copy.StoreError(...failed))).not.toBe(StoreError.prototype);
});

test("instanceof accepts the errors of another copy", () => {
  expect(new copy.StoreError(...failed) instanceof StoreError).toBe(true);
  expect(new StoreError(...failed) instanceof copy.StoreError).toBe(true);
  expect(new copy.OutcomeUnknownError("id", "lost") instanceof OutcomeUnknownError).toBe(true);
  expect(new copy.OutcomeUnknownError("id", "lost") instanceof StoreError).toBe(true);
  expect(new copy.InvalidArgumentError("f", "a value") instanceof InvalidArgumentError).toBe(true);
});

test("instanceof refuses errors of another class", () => {
  expect(new copy.StoreError(...failed) instanceof OutcomeUnknownError).toBe(false);
  expect(new copy.InvalidArgumentError("f", "a value") instanceof StoreError).toBe(false);
  expect(new copy.StoreError(...failed) instanceof InvalidArgumentError).toBe(false);
  for (const value of [new Error("other"), undefined, null, "StoreError", { name: "StoreError" }]) {
    expect((value as unknown) instanceof StoreError).toBe(false);
  }
});

test("a class that is derived from StoreError keeps the ordinary instanceof", () => {
  class Rejection extends StoreError {}
  expect(new Rejection(...failed) instanceof Rejection).toBe(true);
  expect(new Rejection(...failed) instanceof copy.StoreError).toBe(true);
  expect(new StoreError(...failed) instanceof Rejection).toBe(false);
});

test("each error class sets its name", () => {
  expect(new StoreError(...failed).name).toBe("StoreError");
  expect(new OutcomeUnknownError("id", "lost").name).toBe("OutcomeUnknownError");
  expect(new InvalidArgumentError("f", "a value").name).toBe("InvalidArgumentError");
});
