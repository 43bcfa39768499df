import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DaemonProcess } from "@bolthole/conformance/process";
import type { RuntimeStore } from "@bolthole/contract";
import { readInputState } from "@bolthole/json";
import { MeerkatFile } from "@bolthole/sqlite";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { type ExpectedDatabase, comparable, databases, expectedOf, loadsOf } from "../testing/reference-database.js";

const SMALL = "meerkat-small";
const DAMAGED = "meerkat-damaged-small";

let folder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-move-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);

/** Returns the path of a copy of a database that the reference wrote. */
function database(name: string): string {
  const copy = at(`${name}.sqlite3`);
  copyFileSync(join(databases ?? "", `${name}.sqlite3`), copy);
  return copy;
}

function served<T>(
  data: string,
  args: readonly string[],
  use: (store: RuntimeStore, daemon: DaemonProcess) => Promise<T>,
): Promise<T> {
  const home = args.includes("sqlite") ? `${data}.bolthole` : undefined;
  return daemons.serve(daemons.add(data, args, home), use);
}

const comparableLoads = (data: string, args: readonly string[], expected: ExpectedDatabase): Promise<unknown> =>
  served(data, args, async (store) => comparable(await loadsOf(store, expected)));

async function rowsOf(file: string): Promise<unknown[]> {
  const opened = await MeerkatFile.openToRead(file);
  try {
    const rows: unknown[] = [await opened.readOauth()];
    for (const { runtimeId, name } of await opened.runtimes()) {
      const { ops, ...others } = await opened.read(runtimeId ?? "");
      // The reference writes the members of maps in any order.
      rows.push([name, ops && (JSON.parse(ops.toString()) as unknown), others]);
    }
    return rows;
  } finally {
    await opened.close();
  }
}

const described = databases === undefined ? describe.skip : describe;

described("a database that the reference wrote (skipped without the recorded vectors)", () => {
  test("is imported, served as expected, and exported again byte for byte", async () => {
    const file = database(SMALL);
    const expected = expectedOf(SMALL);
    expect(expected.runtimes).toHaveLength(10);
    expect((await bolthole("import", "meerkat", file, "--data", at("data"))).code).toBe(EXIT.CLEAN);
    expect(await comparableLoads(at("data"), [], expected)).toEqual(comparable(expected));
    expect(readFileSync(file).equals(readFileSync(join(databases ?? "", `${SMALL}.sqlite3`)))).toBe(true);

    expect((await bolthole("export", "meerkat", at("out.sqlite3"), "--data", at("data"))).code).toBe(EXIT.CLEAN);
    expect(await rowsOf(at("out.sqlite3"))).toEqual(await rowsOf(file));
    const again = await bolthole("import", "meerkat", at("out.sqlite3"), "--data", at("data"));
    expect(again).toMatchObject({ code: EXIT.CLEAN, out: expect.stringContaining("10 unchanged") as string });
  });

  test("is imported into a running daemon and exported from it", async () => {
    const file = database(SMALL);
    const expected = expectedOf(SMALL);
    await served(at("data"), [], async (store) => {
      expect((await bolthole("import", "meerkat", file, "--data", at("data"))).code).toBe(EXIT.CLEAN);
      expect(comparable(await loadsOf(store, expected))).toEqual(comparable(expected));
      expect((await bolthole("export", "meerkat", at("out.sqlite3"), "--data", at("data"))).code).toBe(EXIT.CLEAN);
    });
    expect(await rowsOf(at("out.sqlite3"))).toEqual(await rowsOf(file));
  });

  test("with damage is imported without its damaged runtimes, and with --skip-damaged without its damaged rows", async () => {
    const file = database(DAMAGED);
    const refused = [
      "machine lifecycle record",
      "operation snapshot",
      "input state 0198f01a-0000-7000-8000-000000000fa2",
      "boundary receipt 0198f0a9-0000-7000-8000-000000000001 0",
      "session snapshot",
    ];
    const records = (out: string): string[] =>
      out.split("\n").flatMap((line) => /^refused\s+"[^"]*": ([^:]*):/.exec(line)?.[1] ?? []);
    const first = await bolthole("import", "meerkat", file, "--data", at("data"));
    expect([first.code, records(first.out)]).toEqual([EXIT.INCOMPLETE, refused]);
    expect(first.out).toContain("1 added, 0 replaced, 0 unchanged, 0 kept, 2 skipped; 5 rows that cannot be moved");

    const second = await bolthole("import", "meerkat", file, "--data", at("data"), "--skip-damaged");
    expect([second.code, records(second.out)]).toEqual([EXIT.CLEAN, refused]);
    expect(second.out).toContain("2 added, 0 replaced, 1 unchanged");
    const expected = withoutDamage(expectedOf(DAMAGED));
    expect(await comparableLoads(at("data"), [], expected)).toEqual(comparable(expected));
  });

  test("is served and changed in place, and keeps the schema of the reference", async () => {
    const file = database(SMALL);
    const expected = expectedOf(SMALL);
    const schema = await schemaOf(file);
    const runtimeId = expected.runtimes[0]?.runtime_id ?? "";
    const inputId = expected.runtimes[0]?.input_state[0]?.input_id ?? "";
    const changed = await served(file, ["--engine", "sqlite"], async (store, daemon) => {
      expect(comparable(await loadsOf(store, expected))).toEqual(comparable(expected));
      const row = await store.loadInputState(runtimeId, inputId);
      if (!row) throw new Error("the row is gone");
      const next = { ...row, recoveryCount: row.recoveryCount + 1 };
      await store.persistInputState(runtimeId, next);
      await daemon.restart("SIGKILL");
      expect(await store.loadInputState(runtimeId, inputId)).toEqual(next);
      return next;
    });
    expect(await schemaOf(file)).toEqual(schema);
    const opened = await MeerkatFile.openToRead(file);
    const { inputs } = await opened.read(runtimeId);
    await opened.close();
    const stored = inputs.find((one) => one.inputId === inputId);
    expect(readInputState(stored?.json ?? "")).toEqual(changed);
  });

  test("with damage is served in place, and each load has the result of the reference", async () => {
    const file = database(DAMAGED);
    const expected = expectedOf(DAMAGED);
    // A record that the reference refuses to decode is refused by the load here (contract 3.3).
    const declared = {
      ...expected,
      runtimes: expected.runtimes.map((one) =>
        one.runtime_state.err === undefined ? one : { ...one, machine_lifecycle_record: one.runtime_state },
      ),
    };
    expect(await comparableLoads(file, ["--engine", "sqlite"], declared)).toEqual(comparable(declared));
  });
});

/** Returns the expected contents without the damaged rows. */
function withoutDamage(expected: ExpectedDatabase): ExpectedDatabase {
  const none = { ok: null };
  const withoutError = <T extends { readonly err?: unknown }>(result: T): T | typeof none =>
    result.err === undefined ? result : none;
  return {
    ...expected,
    runtimes: expected.runtimes.map((one) => {
      const input_state = one.input_state.map((row) => ({ ...row, result: withoutError(row.result) }));
      return {
        ...one,
        session_snapshot: "session_decode" in one ? sessionOf(one) : one.session_snapshot,
        machine_lifecycle_record: one.runtime_state.err === undefined ? one.machine_lifecycle_record : none,
        runtime_state: withoutError(one.runtime_state),
        ops_lifecycle: withoutError(one.ops_lifecycle),
        input_state,
        input_states: {
          ok: input_state.flatMap(({ result }) => (result.ok ? [(result.ok as { text: string }).text] : [])),
        },
        boundary_receipt: one.boundary_receipt.map((row) => ({ ...row, result: withoutError(row.result) })),
      };
    }),
  };
}

const sessionOf = (one: ExpectedDatabase["runtimes"][number]): { readonly ok?: unknown } =>
  (one as unknown as { session_decode: { err?: unknown } | null }).session_decode?.err === undefined
    ? one.session_snapshot
    : { ok: null };

const schemaOf = async (file: string): Promise<string[]> => {
  const opened = await MeerkatFile.openToRead(file);
  try {
    return (await opened.schema()).filter((sql) => !sql.includes("bolthole_"));
  } finally {
    await opened.close();
  }
};
