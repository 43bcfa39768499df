import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { EXIT } from "../exit-code.js";
import { type CommandResult, Daemons, boltholeWith } from "../testing/daemons.js";
import { foreignControl } from "./trusted-path.js";

const OTHER = 65_534;
const isRoot = process.getuid?.() === 0;
/** Only root can make files of another user. */
const asRoot = isRoot ? test : test.skip;
if (!isRoot) console.warn("SKIPPED: the tests with a second user need root");

let folder: string;
let shared: string;
let data: string;
let socketFolder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-socket-"));
  // As /tmp: everybody may create files, and nobody else can remove them.
  shared = join(folder, "tmp");
  mkdirSync(shared);
  chmodSync(shared, 0o1777);
  data = join(folder, "x".repeat(120));
  socketFolder = join(shared, `bolthole-${String(process.getuid?.())}`);
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const places = (env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({ TMPDIR: shared, XDG_RUNTIME_DIR: "", ...env });

const serve = (env?: NodeJS.ProcessEnv): Promise<CommandResult> =>
  boltholeWith({ env: places(env) }, "serve", "--data", data, "--log-level", "silent");

const refusedBecause = (text: string): unknown => [
  EXIT.DATA_FOLDER,
  expect.stringMatching(
    new RegExp(`^bolthole: the socket would be in the folder .*${text}.*Set XDG_RUNTIME_DIR`),
  ) as string,
];

test("a private folder is made in the temporary folder, and used again", async () => {
  for (let start = 0; start < 2; start += 1) {
    const daemon = daemons.addWith(data, places());
    await daemon.start();
    const socket = daemon.target.replace("unix:", "");
    expect([dirname(socket), statSync(socketFolder).mode & 0o7777]).toEqual([socketFolder, 0o700]);
    expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
  }
});

asRoot.each([
  [
    "a sticky folder of another user",
    "belongs to another user",
    () => {
      mkdirSync(socketFolder);
      chmodSync(socketFolder, 0o1777);
      chownSync(socketFolder, OTHER, OTHER);
    },
  ],
  [
    "a link of another user to a folder of this one",
    "belongs to another user",
    () => {
      mkdirSync(join(folder, "public"));
      symlinkSync(join(folder, "public"), socketFolder);
      lchownSync(socketFolder, OTHER, OTHER);
    },
  ],
])("%s in the place of the socket folder is refused, and stays as it was", async (_name, text, squat) => {
  squat();
  const { code, err } = await serve();
  expect([code, err]).toEqual(refusedBecause(text));
  expect(readdirSync(socketFolder)).toEqual([]);
});

test.each([
  [
    "a link of this user",
    "is a link",
    () => {
      mkdirSync(join(folder, "public"));
      symlinkSync(join(folder, "public"), socketFolder);
    },
  ],
  [
    "a sticky folder in which everybody may take a name",
    "can be written by other users",
    () => {
      mkdirSync(socketFolder);
      chmodSync(socketFolder, 0o1777);
    },
  ],
  [
    "a file",
    "is not a folder",
    () => {
      writeFileSync(socketFolder, "");
    },
  ],
])("%s in the place of the socket folder is refused", async (_name, text, make) => {
  make();
  const { code, err } = await serve();
  expect([code, err]).toEqual(refusedBecause(text));
  expect(existsSync(join(data, "endpoint"))).toBe(false);
});

test("a temporary or runtime folder that others may write without being sticky is refused at every level", async () => {
  const open = join(folder, "open");
  mkdirSync(join(open, "run"), { recursive: true });
  chmodSync(open, 0o777);
  const forTemporary = await serve({ TMPDIR: open });
  expect([forTemporary.code, forTemporary.err]).toEqual(refusedBecause(`${open} can be written by other users`));
  const forRuntime = await serve({ XDG_RUNTIME_DIR: join(open, "run") });
  expect([forRuntime.code, forRuntime.err]).toEqual(refusedBecause(`${open} can be written by other users`));
  expect(readdirSync(join(open, "run"))).toEqual([]);
});

asRoot("a runtime folder of another user is refused", async () => {
  const theirs = join(folder, "run");
  mkdirSync(theirs);
  chownSync(theirs, OTHER, OTHER);
  const { code, err } = await serve({ XDG_RUNTIME_DIR: theirs });
  expect([code, err]).toEqual(refusedBecause("belongs to another user"));
});

asRoot("the folder is looked at again when the socket is made again, and a squatted one stays", async () => {
  const daemon = daemons.addWith(data, places(), ["--log-level", "error"]);
  await daemon.start();
  // A frozen daemon cannot make the folder again in between.
  daemon.signal("SIGSTOP");
  rmSync(socketFolder, { recursive: true });
  mkdirSync(socketFolder);
  chownSync(socketFolder, OTHER, OTHER);
  daemon.signal("SIGCONT");
  for (let wait = 0; wait < 6000 && !daemon.output.includes("cannot be made again"); wait += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(daemon.output).toContain("belongs to another user");
  expect(readdirSync(socketFolder)).toEqual([]);
  expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
});

asRoot(
  "a socket file of another user at the path of the socket is refused, whether its process lives or not",
  async () => {
    const short = join(folder, "data");
    mkdirSync(short, { mode: 0o700 });
    const socket = join(short, "bolthole.sock");
    const script = `require("node:net").createServer().listen(${JSON.stringify(socket)}, () => console.log("listens"))`;
    const imposter = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(imposter, "close");
    try {
      await once(imposter.stdout, "data");
      chownSync(socket, OTHER, OTHER);
      for (const isAlive of [true, false]) {
        if (!isAlive) {
          imposter.kill("SIGKILL");
          await ended;
        }
        const { code, err } = await boltholeWith({}, "serve", "--data", short, "--log-level", "silent");
        expect([isAlive, code, err]).toEqual([
          isAlive,
          EXIT.ADDRESS,
          expect.stringContaining(
            `expected a socket of this user (0) at ${socket}, found a file of user ${String(OTHER)}`,
          ),
        ]);
        expect(statSync(socket).uid).toBe(OTHER);
      }
    } finally {
      imposter.kill("SIGKILL");
      await ended;
    }
  },
);

describe("the control of others over a path", () => {
  asRoot("is found in every step and behind links, and a sticky folder needs an own entry", () => {
    const deep = join(shared, "a", "b");
    mkdirSync(deep, { recursive: true });
    expect(foreignControl(join(deep, "missing", "more"))).toBeUndefined();
    chownSync(join(shared, "a"), OTHER, OTHER);
    expect(foreignControl(deep)).toBe(`${join(shared, "a")} belongs to another user (${String(OTHER)})`);
    expect(foreignControl(deep, [process.getuid?.() ?? 0, OTHER])).toBeUndefined();
    symlinkSync("tmp/a/../a/b", join(folder, "link"));
    expect(foreignControl(join(folder, "link"))).toContain(`${join(shared, "a")} belongs`);
    chownSync(join(shared, "a"), 0, 0);
    expect(foreignControl(join(folder, "link"))).toBeUndefined();
    symlinkSync("loop", join(folder, "loop"));
    expect(foreignControl(join(folder, "loop"))).toContain("more than 40 links");
  });
});
