import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

let folder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-stopped-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

test("a command ends with an explanation when the process of the daemon is stopped", async () => {
  const data = join(folder, "data");
  const database = join(folder, "db.sqlite3");
  await daemons.serve(daemons.add(data), async (store) => {
    await store.persistInputState("rt", inputRow("one"));
  });
  expect((await bolthole("export", "meerkat", database, "--data", data)).code).toBe(EXIT.CLEAN);
  const daemon = daemons.add(data);
  await daemon.start();
  daemon.signal("SIGSTOP");
  const commands = [
    ["status"],
    ["verify"],
    ["backup", join(folder, "backup")],
    ["export", "meerkat", join(folder, "out.sqlite3")],
    ["import", "meerkat", database],
    ["horizon"],
    ["delete", "rt", "--yes"],
  ];
  const results = await Promise.all(commands.map((command) => bolthole(...command, "--data", data)));
  daemon.signal("SIGCONT");
  for (const [index, { code, err }] of results.entries()) {
    const name = commands[index]?.[0];
    expect([name, code]).toEqual([name, EXIT.NOT_RUNNING]);
    expect([name, err]).toEqual([name, expect.stringMatching(/does not (answer|respond)/)]);
    // No stack, and no words of the gRPC library.
    expect([name, err]).not.toEqual([name, expect.stringMatching(/^ {4}at |LB pick|remote_addr|Deadline exceeded/m)]);
  }
});
