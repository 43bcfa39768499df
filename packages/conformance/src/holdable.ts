/** A target one of whose methods can be held back: for factories that offer `hold`. */
export interface Holdable<T> {
  readonly target: T;
  hold(): () => void;
}

/** While held, calls of the method wait, in order, before they reach the target. */
export function holdable<T extends object>(target: T, method: keyof T): Holdable<T> {
  let gate: Promise<void> | undefined;
  const held = new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property, object);
      if (typeof value !== "function") return value;
      if (property !== method) return value.bind(object) as unknown;
      return async (...args: unknown[]): Promise<unknown> => {
        await gate;
        return Reflect.apply(value, object, args) as unknown;
      };
    },
  });
  return {
    target: held,
    hold() {
      let open = (): void => undefined;
      gate = new Promise((resolve) => {
        open = resolve;
      });
      return () => {
        gate = undefined;
        open();
      };
    },
  };
}
