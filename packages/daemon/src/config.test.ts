import {
  type Config,
  SETTINGS,
  type SettingName,
  defaultDataFolder,
  flagOf,
  helpOf,
  resolveConfig,
  unknownVariables,
} from "./config.js";
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
  ["1.5mb", 1536 * 1024],
  ["65536", 65536],
])("the size %s is %d bytes", (text, bytes) => {
  expect(resolveConfig({ maxRequestSize: text }, {}).maxRequestSize).toBe(bytes);
});

/** The smallest and the largest value of a setting, as its description names them. */
const BOUNDED = (Object.keys(SETTINGS) as SettingName[]).flatMap((name) => {
  const [, least, most] = /from (\S+) to ([^\s,]+)/.exec(helpOf(name)) ?? [];
  return least === undefined || most === undefined ? [] : [[name, least, most] as const];
});

test("every setting with a number has a smallest and a largest value", () => {
  const others = (Object.keys(SETTINGS) as SettingName[]).filter((name) => !BOUNDED.some(([one]) => one === name));
  expect(others).toEqual(["data", "engine", "listen", "tcpInsecure", "logLevel", "check", "incrementalChecks"]);
});

/** Other settings that a value needs, so that nothing else is wrong. */
const BESIDE = { maxRequestSize: { maxRequestsSize: "1024GiB" } } as Partial<Record<SettingName, object>>;

test.each(BOUNDED)("--%s accepts %s and %s, and refuses what is below or above", (name, least, most) => {
  const beside = { ...BESIDE[name], ...(name === "maxRequestsSize" && { maxRequestSize: "64KiB" }) };
  for (const value of [least, most]) {
    expect(resolveConfig({ ...beside, [name]: value }, {})[name]).toBeGreaterThanOrEqual(0);
  }
  const isDuration = /\d[smhd]$/.test(most);
  const more = isDuration ? "9999d" : most.endsWith("B") ? "99999999999999GB" : "999999999999";
  const less = isDuration ? "0ms" : "0";
  const flag = `--${flagOf(name)}`;
  for (const value of Number.parseInt(least, 10) === 0 ? [more] : [less, more, "-1", "1e3", "NaN"]) {
    expect(problemsOf({ ...beside, [name]: value })[0]).toMatch(
      new RegExp(`^${flag}: expected .* from ${least} to ${most}.*, found`),
    );
  }
});

test.each([
  [{ maxRuntimeIdSize: "128KiB" }, "--max-runtime-id-size: expected a size from 64 to 32KiB, found 128KiB"],
  [
    { outcomeMaxAge: "1500ms" },
    "--outcome-max-age: expected a duration from 1s to 3650d, in whole seconds, found 1500ms",
  ],
  [{ outcomeMaxAge: "1ms" }, "--outcome-max-age: expected a duration from 1s to 3650d, in whole seconds, found 1ms"],
  [{ drainTimeout: "30d" }, "--drain-timeout: expected a duration from 0s to 24d, found 30d"],
  [{ maxRequestsSize: "1MiB" }, "--max-request-size: expected at most --max-requests-size (1MiB), found 32MiB"],
  [
    { maxRequestSize: "512MiB" },
    "--max-request-size: expected at most --max-requests-size (256MiB, its default), found 512MiB",
  ],
  [
    { maxRuntimeIdSize: "64.9B" },
    "--max-runtime-id-size: expected a size such as 32MB or 1GiB from 64 to 32KiB, found 64.9B",
  ],
  [{ data: "" }, "--data: expected a path, found nothing"],
  [{ logLevel: "INFO" }, "--log-level: expected debug, info, warn, error or silent, found INFO"],
  [{ check: "often" }, "--check: expected auto, full or quick, found often"],
  [{ listen: "127.0.0.1:70000" }, "--listen: expected a port from 0 to 65535, found 70000"],
  [{ maxConnections: "1" }, "--max-connections: expected a whole number from 2 to 1000000, found 1"],
])("%j is refused, because nothing could keep it", (flags, problem) => {
  expect(problemsOf(flags)).toContain(problem);
});

test("two settings that contradict each other are named with the variables that they came from", () => {
  const environment = { BOLTHOLE_MAX_REQUEST_SIZE: "512MiB", BOLTHOLE_MAX_REQUESTS_SIZE: "64MiB" };
  expect(problemsOf({}, environment)).toEqual([
    "BOLTHOLE_MAX_REQUEST_SIZE: expected at most BOLTHOLE_MAX_REQUESTS_SIZE (64MiB), found 512MiB",
  ]);
  expect(problemsOf({}, { BOLTHOLE_MAX_REQUEST_SIZE: "512MiB" })).toEqual([
    "BOLTHOLE_MAX_REQUEST_SIZE: expected at most --max-requests-size (256MiB, its default), found 512MiB",
  ]);
});

test("a variable of another program is no error, and one that looks like a setting is", () => {
  const environment = {
    BOLTHOLE_PORT: "tcp://10.0.0.1:7117",
    BOLTHOLE_PORT_7117_TCP_ADDR: "10.0.0.1",
    BOLTHOLE_SERVICE_HOST: "10.0.0.1",
    BOLTHOLE_LISTENER: "net.example.Listener",
    BOLTHOLE_DATA: "",
    BOLTHOLE_LOG_LEVEL: "",
  };
  expect(resolveConfig({}, environment)).toEqual(resolveConfig({}, {}));
  expect(unknownVariables(environment).map(({ variable }) => variable)).toEqual([
    "BOLTHOLE_PORT",
    "BOLTHOLE_PORT_7117_TCP_ADDR",
    "BOLTHOLE_SERVICE_HOST",
    "BOLTHOLE_LISTENER",
  ]);
  expect(problemsOf({}, { BOLTHOLE_LISTN: "x" })).toEqual([expect.stringMatching(/did you mean BOLTHOLE_LISTEN\?$/)]);
  // Letters in exchanged order, also in a short name.
  expect(problemsOf({}, { BOLTHOLE_QOUTA: "1GiB" })).toEqual([expect.stringMatching(/did you mean BOLTHOLE_QUOTA\?$/)]);
  for (const variable of ["BOLTHOLE_LOGLEVEL", "BOLTHOLE_LOG_LEVL", "BOLTHOLE_LOG_LEVELS"]) {
    expect(problemsOf({}, { [variable]: "debug" })).toEqual([
      `${variable}: there is no setting of this name; did you mean BOLTHOLE_LOG_LEVEL?`,
    ]);
  }
});

test("a relative folder for state is ignored, as the rules of XDG say", () => {
  const before = process.env.XDG_STATE_HOME;
  try {
    process.env.XDG_STATE_HOME = "state";
    expect(defaultDataFolder()).toMatch(/\.local\/state\/bolthole$/);
    process.env.XDG_STATE_HOME = "/var/state";
    expect(defaultDataFolder()).toBe("/var/state/bolthole");
  } finally {
    if (before === undefined) delete process.env.XDG_STATE_HOME;
    else process.env.XDG_STATE_HOME = before;
  }
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

test.each(["0.0.0.0:7117", "192.168.0.1:1", "example.org:80", "127.0.0.1", "127.999.0.1:1", "127.0.0.1.example.org:1"])(
  "%s is refused as an address",
  (text) => {
    expect(problemsOf({ listen: text })).toEqual([expect.stringMatching(/^--listen: expected a loopback address/)]);
  },
);

test("one error lists every problem with the flag or variable that it came from", () => {
  const problems = problemsOf(
    { engine: "postgres", maxRequestSize: "10 apples" },
    { BOLTHOLE_DRAIN_TIMEOUT: "soon", BOLTHOLE_ENGIN: "1" },
  );
  expect(problems).toHaveLength(4);
  expect(problems.join("\n")).toMatch(/--engine[^]*--max-request-size[^]*BOLTHOLE_DRAIN_TIMEOUT[^]*BOLTHOLE_ENGIN/);
});

test("the engine sqlite needs the path of a database file", () => {
  expect(problemsOf({ engine: "sqlite" })).toEqual(["--data: the engine sqlite needs the path of a database file"]);
  expect(resolveConfig({ engine: "sqlite" }, { BOLTHOLE_DATA: "/db" }).data).toBe("/db");
});
