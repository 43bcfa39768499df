import { methodsOf, patchModule } from "./patch-module.js";

type Close = (this: object, time: object, horizon?: { readonly forgetsClock?: boolean }) => unknown;

// Deleted outcomes do not move the horizon: a late copy of a request is executed again.
patchModule(
  (request) => request === "./write-set.js",
  (exports: Record<string, unknown>) => {
    const methods = methodsOf(exports, "WriteSet", "close");
    const close = methods["close"] as Close;
    const changed: Close = function (time, horizon) {
      return close.call(this, time, horizon?.forgetsClock ? horizon : {});
    };
    Object.assign(methods, { close: changed });
    return undefined;
  },
);
