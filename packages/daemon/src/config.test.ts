import { type Config, resolveConfig } from "./config.js";
import { StartupError } from "./exit-code.js";

const problemsOf = (flags: Parameters<typeof resolveConfig>[0], environment: NodeJS.ProcessEnv = {}): string[] => {
  try {
    resolveConfig(flags, environment);
  } catch (error) {
    if (error instanceof StartupError) return error.message.split("\n");
  }
  throw new Error("the configuration was accepted");
};

test("a setting without a flag or variable has its default", () => {
  const config = resolveConfig({}, {});
  expect(config).toMatchObject({
    engine: "lmdb",
    listen: undefined,
    maxRequestSize: 32 * 1024 * 1024,
    drainTimeout: 10_000,
    closeTimeout: 60_000,
    outcomeMaxAge: 24 * 60 * 60 * 1000,
  } satisfies Partial<Config>);
});

test("a flag overrides a variable, and a variable overrides the default", () => {
  const environment = { BOLTHOLE_MAX_REQUESTS: "7", BOLTHOLE_MAX_STREAMS: "8" };
  const config = resolveConfig({ maxRequests: "9" }, environment);
  expect([config.maxRequests, config.maxStreams]).toEqual([9, 8]);
});

test.each([
  ["32MB", 32 * 1024 * 1024],
  ["32MiB", 32 * 1024 * 1024],
  ["1.5kb", 1536],
  ["4096", 4096],
])("the size %s is %d bytes", (text, bytes) => {
  expect(resolveConfig({ maxRequestSize: text }, {}).maxRequestSize).toBe(bytes);
});

test.each([
  ["maxDocumentSize", "--max-document-size", "512MiB", "513MiB"],
  ["maxOpsSnapshotSize", "--max-ops-snapshot-size", "512MiB", "1GiB"],
  ["maxTypedOpsSnapshotSize", "--max-typed-ops-snapshot-size", "3MiB", "4MiB"],
] as const)("%s is bounded by what can be sent", (name, flag, largest, larger) => {
  expect(problemsOf({ [name]: larger })).toEqual([`${flag}: expected a size above 0 and up to ${largest}`]);
  expect(resolveConfig({ [name]: largest }, {})[name]).toBe(Number.parseInt(largest, 10) * 1024 * 1024);
});

test.each([
  [{ maxRuntimeIdSize: "128KiB" }, "--max-runtime-id-size: expected a size above 0 and up to 32KiB"],
  [{ maxRequestSize: "2GiB" }, "--max-request-size: expected a size above 0 and up to 1024MiB"],
  [{ drainTimeout: "30d" }, "--drain-timeout: expected a duration of at most 24d"],
  [{ closeTimeout: "30d" }, "--close-timeout: expected a duration of at most 24d"],
  [{ maxRequestsSize: "1MiB" }, "--max-requests-size: expected at least --max-request-size, found less"],
])("%j is refused, because nothing could keep it", (flags, problem) => {
  expect(problemsOf(flags)).toContain(problem);
});

test("the scrub rate is a size or off", () => {
  expect(resolveConfig({ scrubRate: "1MiB" }, {}).scrubRate).toBe(1024 * 1024);
  expect(resolveConfig({ scrubRate: "off" }, {}).scrubRate).toBe(0);
  expect(problemsOf({ scrubRate: "fast" })).toEqual([expect.stringMatching(/^--scrub-rate: expected a size/)]);
});

test.each([
  ["500ms", 500],
  ["10s", 10_000],
  ["24h", 86_400_000],
])("the duration %s is %d ms", (text, ms) => {
  expect(resolveConfig({ drainTimeout: text }, {}).drainTimeout).toBe(ms);
});

test.each([
  ["127.0.0.1:7117", { host: "127.0.0.1", port: 7117 }],
  ["[::1]:0", { host: "::1", port: 0 }],
  ["localhost:1", { host: "localhost", port: 1 }],
])("%s is a loopback address", (text, address) => {
  expect(resolveConfig({ listen: text }, {}).listen).toEqual(address);
});

test.each(["0.0.0.0:7117", "192.168.0.1:1", "example.org:80", "127.0.0.1", "127.0.0.1:70000"])(
  "%s is refused as an address",
  (text) => {
    expect(problemsOf({ listen: text })).toEqual([expect.stringMatching(/^--listen: expected a loopback address/)]);
  },
);

test("one error lists every problem with the flag or variable that it came from", () => {
  const problems = problemsOf(
    { engine: "postgres", maxRequestSize: "10 apples" },
    { BOLTHOLE_DRAIN_TIMEOUT: "soon", BOLTHOLE_TYPO: "1" },
  );
  expect(problems).toHaveLength(4);
  expect(problems.join("\n")).toMatch(/--engine[^]*--max-request-size[^]*BOLTHOLE_DRAIN_TIMEOUT[^]*BOLTHOLE_TYPO/);
});

test("the engine sqlite needs the path of a database file", () => {
  expect(problemsOf({ engine: "sqlite" })).toEqual(["--data: the engine sqlite needs the path of a database file"]);
  expect(resolveConfig({ engine: "sqlite" }, { BOLTHOLE_DATA: "/db" }).data).toBe("/db");
});
