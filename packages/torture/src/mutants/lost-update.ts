import { methodsOf, patchModule } from "./patch-module.js";

interface View {
  get(key: unknown): Promise<unknown>;
}
interface Committer {
  readonly engine: { view<T>(read: (view: View) => Promise<T>): Promise<T> };
}
interface Handle {
  readonly key: unknown;
  readonly index: number;
}
interface Rows {
  get(handle: Handle): unknown;
}
interface Change {
  readonly reads: { readonly handles: readonly Handle[] };
  decide(rows: Rows): unknown;
}
type Commit = (this: Committer, change: Change) => unknown;

const ONE_IN = 3;
let count = 0;

// One rule in three decides over rows that were read before the writer reached it, so changes of other writers in between are lost.
patchModule(
  (request) => request === "./commit/committer.js",
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "Committer", "commitIfCurrent");
    const commit = methods["commitIfCurrent"] as unknown as Commit;
    const changed = async function (this: Committer, change: Change): Promise<unknown> {
      if (++count % ONE_IN !== 0) return commit.call(this, change);
      const { handles } = change.reads;
      const before = await this.engine.view((view) => Promise.all(handles.map(({ key }) => view.get(key))));
      return commit.call(this, { ...change, decide: () => change.decide({ get: ({ index }) => before[index] }) });
    };
    Object.assign(methods, { commitIfCurrent: changed });
    return undefined;
  },
);
