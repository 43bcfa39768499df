import { patchModule } from "./patch-module.js";

interface Received {
  message(): unknown;
}
type Receive = (desc: object) => (buffer: Buffer) => Received;

// A request that is no message fails where gRPC reads it, and not where the daemon answers for it.
patchModule(
  (request) => request === "./call-messages.js",
  (exports: { readonly receive?: Receive }) => {
    const { receive } = exports;
    if (!receive) throw new Error("this mutant is out of date: there is no receive");
    const changed: Receive = (desc) => (buffer) => {
      const received = receive(desc)(buffer);
      received.message();
      return received;
    };
    return { ...exports, receive: changed };
  },
);
