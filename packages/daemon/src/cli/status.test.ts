import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";

let folder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-status-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

test("the status says how far the store is above its quota, until a clear", async () => {
  const data = join(folder, "data");
  const save = { sessionSnapshot: Buffer.alloc(3 << 20), profile: "opaque" } as const;
  const size = async (): Promise<string | undefined> => {
    const { code, out } = await bolthole("status", "--data", data);
    expect(code).toBe(EXIT.CLEAN);
    return out.split("\n").find((line) => line.startsWith("size"));
  };
  await daemons.serve(daemons.add(data), async (store) => {
    await store.commitSessionSnapshot("rt", save);
    expect(await size()).toMatch(/3\.\d MiB, no quota/);
  });
  await daemons.serve(daemons.add(data, ["--quota", "1MiB"]), async (store) => {
    expect(await size()).toMatch(
      /3\.\d MiB, quota 1\.0 MiB \(2\.\d MiB above it: only changes that do not grow the store are accepted\)/,
    );
    await store.commitSessionSnapshot("rt", save);
    await expect(store.commitSessionSnapshot("new", save)).rejects.toMatchObject({ reason: "QUOTA" });
    await store.clearSessionSnapshot("rt");
    await store.commitMachineLifecycle("new", { runtimeState: "idle", binding: {} }, []);
    expect(await size()).toMatch(/0\.\d MiB, quota 1\.0 MiB,/);
  });
});

test("a missing socket is named, with what to do, until the daemon has made it again", async () => {
  const data = join(folder, "data");
  const daemon = await daemons.add(data).start();
  // It makes no socket while it is stopped.
  daemon.signal("SIGSTOP");
  const socket = daemon.target.replace("unix:", "");
  rmSync(socket);
  const { code, err } = await bolthole("status", "--data", data);
  expect([code, err]).toEqual([
    EXIT.NOT_RUNNING,
    expect.stringMatching(/no socket is there: .*repeat the command, or start a daemon with bolthole serve\n$/),
  ]);
  daemon.signal("SIGCONT");
  while (!existsSync(socket)) await setTimeout(10);
  expect(await bolthole("status", "--data", data)).toMatchObject({ code: EXIT.CLEAN });
});
