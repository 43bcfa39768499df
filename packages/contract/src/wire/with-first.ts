/** The first of some parts, and all of them, the first one included. Undefined: there are none. */
export async function withFirst<T>(
  parts: AsyncIterable<T>,
): Promise<{ readonly first: T | undefined; readonly all: AsyncIterable<T> }> {
  const iterator = parts[Symbol.asyncIterator]();
  const first = await iterator.next();
  async function* all(): AsyncGenerator<T> {
    try {
      for (let part = first; part.done !== true; part = await iterator.next()) yield part.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { first: first.done === true ? undefined : first.value, all: all() };
}
