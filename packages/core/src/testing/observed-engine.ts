import type { Engine } from "../engine.js";
import type { MemoryEngine } from "../memory-engine.js";

/** Returns an engine that holds no view open between two reads, as one with a single connection does. */
export const withoutHolding = (engine: Engine): Engine =>
  new Proxy(engine, {
    get: (target, name: keyof Engine) => {
      if (name === "viewHoldMs") return 0;
      const member: unknown = target[name];
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });

/** Adds the size of every page that an engine reads from now on to the list that it returns. */
export function pageSizes(engine: MemoryEngine): readonly number[] {
  const sizes: number[] = [];
  const view = engine.view.bind(engine);
  engine.view = (read) =>
    view((inner) =>
      read({
        ...inner,
        scan: async (range, limit, bytes) => {
          const page = await inner.scan(range, limit, bytes);
          sizes.push(page.reduce((total, { row: { value } }) => total + value.length, 0));
          return page;
        },
      }),
    );
  return sizes;
}
