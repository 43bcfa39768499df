import Module from "node:module";
import { isMainThread } from "node:worker_threads";

/** The loader of Node, which every `require` calls. */
interface Loader {
  _load(request: string, parent: unknown, isMain: boolean): unknown;
}

const DAEMON = require.resolve("@bolthole/daemon/bin");
const patched = new WeakSet();

/**
 * Changes modules of the daemon when they are required. `change` gets the exports of each chosen module. It returns
 * replacement exports, or undefined when it changed the exports in place, which is done once. The process ends with an error
 * when its script has been loaded and no module was chosen: the mutant would be the unchanged daemon.
 */
export function patchModule(
  /** Chooses the modules; `from` is the file that requires one. */
  isMeant: (request: string, from: string) => boolean,
  change: (exports: never) => object | undefined,
): void {
  const loader = Module as unknown as Loader;
  const load = loader._load.bind(loader);
  let isUsed = false;
  loader._load = (request, parent, isMain) => {
    const exports = load(request, parent, isMain);
    const from = (parent as { readonly filename?: string } | undefined)?.filename ?? "";
    if (!isMeant(request, from) || typeof exports !== "object" || exports === null || patched.has(exports))
      return exports;
    isUsed = true;
    const replacement = change(exports as never);
    if (replacement === undefined) patched.add(exports);
    return replacement ?? exports;
  };
  // The daemon loads all its modules with its script. Its worker threads and its check process load only some of them.
  if (!isMainThread || process.argv[1] !== DAEMON) return;
  setImmediate(() => {
    if (!isUsed) throw new Error("this mutant is out of date: the daemon has no such module");
  });
}

/** A method of a class of the daemon. */
export type Method = (this: object, ...args: never[]) => unknown;
export type Methods = Record<string, Method>;

/** Returns the prototype of an exported class. Throws when the class or an expected method does not exist. */
export function methodsOf(exports: Readonly<Record<string, unknown>>, name: string, ...expected: string[]): Methods {
  const found = exports[name];
  if (typeof found !== "function") throw new Error(`this mutant is out of date: there is no class ${name}`);
  const methods = found.prototype as Methods;
  for (const method of expected) {
    if (typeof methods[method] !== "function") throw new Error(`this mutant is out of date: no ${name}.${method}`);
  }
  return methods;
}
