import Module from "node:module";

/** Node's own, which every `require` goes through. */
interface Loader {
  _load(request: string, parent: unknown, isMain: boolean): unknown;
}

const patched = new WeakSet();

/** Shows every module that is meant to `change` when it is required, once, and gives out what that makes of it. */
export function patchModule(
  /** `from` is the file that requires it. */
  isMeant: (request: string, from: string) => boolean,
  change: (exports: never) => object | undefined,
): void {
  const loader = Module as unknown as Loader;
  const load = loader._load.bind(loader);
  loader._load = (request, parent, isMain) => {
    const exports = load(request, parent, isMain);
    const from = (parent as { readonly filename?: string } | undefined)?.filename ?? "";
    if (!isMeant(request, from) || typeof exports !== "object" || exports === null || patched.has(exports))
      return exports;
    const replacement = change(exports as never);
    if (replacement === undefined) patched.add(exports);
    return replacement ?? exports;
  };
}

/** A method of a class of the daemon, as it is called there. */
export type Method = (this: object, ...args: never[]) => unknown;
export type Methods = Record<string, Method>;

/** The prototype of a class that a module exports; whoever changes it must find what it expects. */
export function methodsOf(exports: Readonly<Record<string, unknown>>, name: string, ...expected: string[]): Methods {
  const found = exports[name];
  if (typeof found !== "function") throw new Error(`this mutant is out of date: there is no class ${name}`);
  const methods = found.prototype as Methods;
  for (const method of expected) {
    if (typeof methods[method] !== "function") throw new Error(`this mutant is out of date: no ${name}.${method}`);
  }
  return methods;
}
