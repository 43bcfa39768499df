import { readFileSync } from "node:fs";
import { join } from "node:path";
import { OutcomeUnknownError, type RuntimeStore, StoreError, readFailed, writeFailed } from "./index.js";

const PACKAGE = join(__dirname, "..");

// The example of README.md, which the first test compares with this text.
export async function saveSession(store: RuntimeStore, runtimeId: string, session: object): Promise<string> {
  const sessionSnapshot = new TextEncoder().encode(JSON.stringify(session));
  try {
    await store.commitSessionSnapshot(runtimeId, { sessionSnapshot });
    return "saved";
  } catch (error) {
    if (error instanceof OutcomeUnknownError) return `repeat it with the request id ${error.requestId}`;
    if (error instanceof StoreError && error.retry === "same_request") return `try again later: ${error.reason}`;
    throw error;
  }
}

test("the example of README.md is the code of this test", () => {
  const source = readFileSync(join(PACKAGE, "src", "readme.test.ts"), "utf8");
  const [, example = "nothing"] =
    /```ts\n[^]*?\n\n([^]*?)```/.exec(readFileSync(join(PACKAGE, "README.md"), "utf8")) ?? [];
  expect(source).toContain(example);
});

test("the example distinguishes the errors that it names", async () => {
  const storeThat = (commitSessionSnapshot: () => Promise<void>): RuntimeStore =>
    ({ commitSessionSnapshot }) as unknown as RuntimeStore;
  const outcome = (error?: Error): Promise<string> =>
    saveSession(
      storeThat(() => (error ? Promise.reject(error) : Promise.resolve())),
      "rt",
      {},
    );
  expect(await outcome()).toBe("saved");
  expect(await outcome(new OutcomeUnknownError("id", "lost"))).toBe("repeat it with the request id id");
  expect(await outcome(writeFailed("BUSY", "too many requests"))).toBe("try again later: BUSY");
  await expect(outcome(readFailed("INTERNAL", "a fault"))).rejects.toThrow("a fault");
});
