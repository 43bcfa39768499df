import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

let data: string;
let folder: string;
let daemons: Daemons;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-delete-"));
  data = join(folder, "data");
  daemons = new Daemons();
  await daemons.serve(daemons.add(data), async (store) => {
    for (const runtimeId of ["one", ""]) {
      await store.persistInputState(runtimeId, inputRow("one"));
      await store.commitMachineLifecycle(runtimeId, { runtimeState: "idle", binding: {} }, []);
    }
  });
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const newRequestId = (): string =>
  `${Date.now()
    .toString(16)
    .padStart(12, "0")
    .replace(/^(.{8})/, "$1-")}-7000-8000-000000000001`;

test("a runtime of a stopped store is deleted, and the result is printed", async () => {
  const requestId = newRequestId();
  const command = ["delete", "one", "--data", data, "--yes", "--request-id", requestId];
  const out = '"one": deleted the machine lifecycle record, 1 input states';
  expect(await bolthole(...command)).toMatchObject({ code: EXIT.CLEAN, out: `${out}\n` });
  expect(await bolthole(...command)).toMatchObject({
    code: EXIT.CLEAN,
    out: `${out} (by an earlier request with this id)\n`,
  });
  expect(await bolthole("delete", "one", "--data", data, "--yes")).toMatchObject({
    code: EXIT.CLEAN,
    out: '"one": nothing was stored\n',
  });
  expect(await bolthole("verify", "--data", data)).toMatchObject({ code: EXIT.CLEAN });
});

test("a runtime of a running daemon is deleted, and a client sees it", async () => {
  await daemons.serve(daemons.add(data), async (store) => {
    expect(await bolthole("delete", "", "--data", data, "--yes")).toMatchObject({
      code: EXIT.CLEAN,
      out: '"": deleted the machine lifecycle record, 1 input states\n',
    });
    expect(await store.loadInputStates("")).toEqual([]);
    expect(await store.deleteRuntime("one")).toMatchObject({ inputStates: 1, hadMachineLifecycle: true });
    expect((await store.versioned.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes).toEqual([]);
  });
});

test("without a terminal and without --yes nothing is deleted", async () => {
  const refused = await bolthole("delete", "one", "--data", data);
  expect(refused).toMatchObject({ code: EXIT.USAGE, out: "" });
  expect(refused.err).toContain("--yes");
  expect(await bolthole("delete", "one", "--data", join(folder, "missing"), "--yes")).toMatchObject({
    code: EXIT.DATA_FOLDER,
  });
  const invalid = await bolthole("delete", "one", "--data", data, "--yes", "--request-id", "x");
  expect(invalid).toMatchObject({ code: EXIT.USAGE, out: "" });
  expect(invalid.err).toContain("--request-id");
});
