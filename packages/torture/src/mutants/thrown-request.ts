import { patchModule } from "./patch-module.js";

interface Received {
  message(): unknown;
}
type Receive = (desc: object) => (buffer: Buffer) => Received;

// Bytes that are not a message fail inside gRPC, and not in the daemon's code.
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
