import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DaemonProcess } from "@bolthole/conformance/process";
import { Proxy } from "../net/proxy.js";
import { Random } from "../random.js";
import type { Kind } from "./kind.js";

const LONGEST_TROUBLE_MS = 3000;

/** The network between clients and daemon fails, on the unix socket and on TCP; the daemon lives on. */
export const net: Kind = {
  name: "net",
  description: "connections that are cut, delayed, swallowed and half-closed at random places",
  acknowledgedBefore: 50,
  withinMs: 200,
  endings: [],
  excuses: [],
  isOnOwnDisk: false,
  prepare: (folder) => {
    const data = join(folder, "data");
    let proxies: Proxy[] = [];
    const inTrouble = (is: boolean): void => {
      for (const proxy of proxies) proxy.isInTrouble = is;
    };
    const proxiesOf = async (daemon: DaemonProcess, random: Random): Promise<Proxy[]> => {
      const made = daemon.targets.map((target, index) =>
        Proxy.before(target, join(folder, `proxy-${String(index)}.sock`), new Random(random.below(1 << 30))),
      );
      return Promise.all(made);
    };
    return Promise.resolve({
      data,
      args: ["--listen", "127.0.0.1:0"],
      ways: async (daemon, random) => {
        if (proxies.length === 0) proxies = await proxiesOf(daemon, random);
        const token = readFileSync(join(data, "token"), "utf8").trim();
        return proxies.map(({ target }) => ({ target, token: target.startsWith("unix:") ? undefined : token }));
      },
      strike: async ({ random, count }) => {
        inTrouble(true);
        await sleep(LONGEST_TROUBLE_MS / 4 + random.below((LONGEST_TROUBLE_MS * 3) / 4));
        inTrouble(false);
        for (const proxy of proxies) for (const [fault, times] of proxy.takeFaults()) count(fault, times);
        return undefined;
      },
      recover: () => Promise.resolve(),
      dispose: async () => {
        await Promise.all(proxies.map((proxy) => proxy.close()));
      },
    });
  },
};
