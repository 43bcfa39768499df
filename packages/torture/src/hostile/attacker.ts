import { type ChildProcess, fork } from "node:child_process";
import { constants, setPriority } from "node:os";
import { SCENES, type Target } from "./scenes.js";

/** A scene and its target; the only argument of the process, as JSON. */
interface Settings {
  readonly scene: string;
  readonly target: Target;
}

/** The longest time until a scene has sent what it sends. */
const STUCK_MS = 120_000;

/** A scene that plays in a process of its own, so that its work does not delay the client that measures. */
export class Attacker {
  private readonly child: ChildProcess;
  private readonly begun: Promise<number>;

  constructor(scene: string, target: Target) {
    const settings: Settings = { scene, target };
    this.child = fork(__filename, [JSON.stringify(settings)], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    // Attackers have processors of their own: what they take from the daemon here is none of its faults.
    if (this.child.pid !== undefined) setPriority(this.child.pid, constants.priority.PRIORITY_LOW);
    this.begun = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`the scene "${scene}" did not begin within ${String(STUCK_MS)} ms`));
      }, STUCK_MS);
      this.child.once("message", (count: number) => {
        clearTimeout(timer);
        resolve(count);
      });
      this.child.once("exit", (code, signal) => {
        clearTimeout(timer);
        reject(new Error(`the scene "${scene}" ended with ${String(code ?? signal)}`));
      });
    });
    this.begun.catch(() => undefined);
  }

  /** Resolves to the number of its calls when all have begun. */
  hold(): Promise<number> {
    return this.begun;
  }

  /** Ends the process, and with it all of its connections. */
  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }
}

async function play(): Promise<void> {
  const { scene, target } = JSON.parse(process.argv[2] ?? "") as Settings;
  const count = await SCENES[scene]?.(target);
  process.send?.(count);
}

if (require.main === module) {
  // The harness ends this process; without the harness it ends itself.
  process.once("disconnect", () => {
    process.exit(0);
  });
  void play();
}
