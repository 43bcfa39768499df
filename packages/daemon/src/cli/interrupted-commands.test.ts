import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { type CommandResult, Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";
import { type PausePoint, PausedRelay } from "../testing/paused-relay.js";

const LARGE = 3_000_000;
const session = Buffer.from(
  `{"version":2,"id":"0198f0a0-0000-7000-8000-0000000000aa","messages":[{"role":"user","content":"${"x".repeat(LARGE)}",` +
    `"created_at":"2026-05-28T15:31:27Z"}],"created_at":{"secs_since_epoch":1,"nanos_since_epoch":0},` +
    `"updated_at":{"secs_since_epoch":1,"nanos_since_epoch":0},"metadata":{},"usage":{"input_tokens":7,` +
    `"output_tokens":5,"cache_creation_tokens":null,"cache_read_tokens":null}}`,
);

let folder: string;
let data: string;
let daemons: Daemons;
const relays: PausedRelay[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-interrupted-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  for (const relay of relays.splice(0)) relay.end();
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

/** A command, the point in its middle, and what its error must say. All but `status` and `verify` connect with one data frame. */
interface Interrupted {
  readonly command: readonly string[];
  readonly point: PausePoint;
  readonly says: RegExp;
}

const answer = (count: number): PausePoint => ({ from: "daemon", count });
const interrupted = (): Interrupted[] => [
  { command: ["status"], point: answer(1), says: /does not respond/ },
  {
    command: ["verify"],
    point: answer(1),
    says: /does not answer.* while checking the store; nothing was changed by this call; repeat the command/,
  },
  {
    command: ["backup", join(folder, "backup")],
    point: answer(20),
    says: /does not answer.* while copying the store; nothing was changed by this call/,
  },
  {
    command: ["export", "meerkat", join(folder, "out.sqlite3")],
    point: answer(20),
    says: /the export ended early, while loading the runtime "b".*exporting the runtime "b".*\n.*the report has 1 runtime of 4, 3 runtimes were not moved; repeat the same command/,
  },
  {
    command: ["import", "meerkat", join(folder, "source.sqlite3")],
    point: { from: "command", count: 20 },
    says: /the import ended early, while moving the runtime "b".*importing the runtime "b".*may have been applied\n.*the report has 1 runtime of 3, 1 runtime may have been moved, 1 runtime was not moved; repeat the same command/,
  },
  {
    command: ["horizon"],
    point: answer(2),
    says: /gave no answer while reading the horizon.*; nothing was changed by this call/,
  },
  {
    command: ["horizon", "--set", "now"],
    point: answer(2),
    says: /does not answer.* while setting the horizon; the change may have been applied: show the horizon/,
  },
  {
    command: ["delete", "d", "--yes"],
    point: answer(2),
    says: /no answer while deleting the runtime "d", which may have been deleted or not[^]*repeat the command with --request-id [0-9a-f-]{36}/,
  },
];

async function makeStore(): Promise<void> {
  await daemons.serve(daemons.add(data), async (store) => {
    await store.persistInputState("a", inputRow("small"));
    await store.commitSessionSnapshot("b", { sessionSnapshot: session });
    await store.persistInputState("c", inputRow("small"));
  });
  expect((await bolthole("export", "meerkat", join(folder, "source.sqlite3"), "--data", data)).code).toBe(EXIT.CLEAN);
  await daemons.serve(daemons.add(data), (store) => store.persistInputState("d", inputRow("small")));
}

/** Starts each command over a relay of its own, and resolves when all of them are in their middle. */
async function startAll(commands: readonly Interrupted[]): Promise<Promise<CommandResult>[]> {
  const endpoint = join(data, "endpoint");
  const socket = readFileSync(endpoint, "utf8").split("\n")[0]?.replace("unix:", "") ?? "";
  const results: Promise<CommandResult>[] = [];
  for (const [index, { command, point }] of commands.entries()) {
    const path = join(folder, `${String(index)}.sock`);
    const relay = new PausedRelay(path, socket, point);
    relays.push(relay);
    await relay.listen();
    writeFileSync(endpoint, `unix:${path}\n`);
    const result = bolthole(...command, "--data", data);
    results.push(result);
    const early = await Promise.race([relay.reached, result]);
    expect([command, early]).toEqual([command, undefined]);
  }
  return results;
}

test.each(["SIGSTOP", "SIGKILL"] as const)(
  "every command ends with an explanation when its daemon gets %s in the middle of it",
  async (signal) => {
    await makeStore();
    const daemon = daemons.add(data);
    await daemon.start();
    // The status has a time limit of its own that is shorter than the start of the others.
    const [status, ...others] = interrupted();
    const commands = [...others, ...(status ? [status] : [])];
    const results = await startAll(commands);
    if (signal === "SIGKILL") await daemon.stop(signal);
    else daemon.signal(signal);
    for (const [index, { command, says }] of commands.entries()) {
      const result = await results[index];
      expect([command, result?.code, result?.err]).toEqual([command, EXIT.NOT_RUNNING, expect.stringMatching(says)]);
      expect([command, result?.err]).not.toEqual([command, expect.stringMatching(/^ {4}at |this is unexpected/m)]);
    }
    if (signal === "SIGSTOP") {
      daemon.signal("SIGCONT");
      await daemon.stop();
    }
    // The way out that the messages name.
    for (const relay of relays.splice(0)) relay.end();
    const again = await bolthole("import", "meerkat", join(folder, "source.sqlite3"), "--data", data);
    expect([again.code, again.out]).toEqual([EXIT.CLEAN, expect.stringContaining("3 unchanged")]);
    const exported = await bolthole("export", "meerkat", join(folder, "out.sqlite3"), "--data", data, "--overwrite");
    expect(exported.code).toBe(EXIT.CLEAN);
    expect((await bolthole("verify", "--data", data)).code).toBe(EXIT.CLEAN);
  },
);

test("an import that ends early reports what was imported, what is unknown and what is left", async () => {
  await makeStore();
  const target = join(folder, "target");
  const daemon = daemons.add(target);
  await daemon.start();
  data = target;
  const source = join(folder, "source.sqlite3");
  const [result] = await startAll([
    { command: ["import", "meerkat", source], point: { from: "command", count: 20 }, says: /./ },
  ]);
  await daemon.stop("SIGKILL");
  const { code, out } = (await result) ?? { code: -1, out: "" };
  expect(code).toBe(EXIT.NOT_RUNNING);
  expect(out).toContain('added     "a"\nunknown   "b": it may have been moved, completely or not at all\n');
  expect(out).toContain("runtimes: 1 added, 0 replaced, 0 unchanged, 0 kept, 0 skipped");
  const again = await bolthole("import", "meerkat", source, "--data", target);
  expect([again.code, again.out]).toEqual([EXIT.CLEAN, expect.stringContaining("2 added, 0 replaced, 1 unchanged")]);
});
