import type { Random } from "../../random.js";
import { type RawClient, framed } from "../http2-client.js";
import type { FuzzCall } from "../seeds.js";
import { nameOf } from "../verdict.js";

interface Break {
  readonly frame?: (message: Buffer) => Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
  /** What grpc-js answers by itself: gRPC statuses, or an HTTP status where it takes the call for none of its own. */
  readonly answers: readonly string[];
}

/** Whatever our code says to a call that got through. */
const OURS = ["OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED"];

/** Calls that grpc-js turns away, or puts right, before our code sees them. */
const BREAKS: Readonly<Record<string, Break>> = {
  "no message": { frame: () => Buffer.alloc(0), answers: ["UNIMPLEMENTED"] },
  "half a frame head": { frame: () => Buffer.alloc(3), answers: ["UNIMPLEMENTED"] },
  "less than the head says": {
    frame: (message) => framed(message, 0, message.length + 10),
    answers: ["UNIMPLEMENTED"],
  },
  "a frame of 4 GiB": { frame: (message) => framed(message, 0, 0xffffffff), answers: ["RESOURCE_EXHAUSTED"] },
  "two messages": { frame: (message) => Buffer.concat([framed(message), framed(message)]), answers: ["UNIMPLEMENTED"] },
  // It is read as it stands.
  "compressed without a name": { frame: (message) => framed(message, 1), answers: OURS },
  "not what gzip makes": {
    frame: (message) => framed(message, 1),
    headers: { "grpc-encoding": "gzip" },
    answers: ["INTERNAL"],
  },
  "an encoding nobody has": {
    frame: (message) => framed(message, 1),
    headers: { "grpc-encoding": "zip" },
    answers: ["UNIMPLEMENTED"],
  },
  "another content type": { headers: { "content-type": "application/json" }, answers: ["HTTP 415"] },
  "a timeout that is none": { headers: { "grpc-timeout": "soon" }, answers: ["INTERNAL"] },
  "no time at all": { headers: { "grpc-timeout": "0n" }, answers: ["DEADLINE_EXCEEDED", ...OURS] },
  "an RPC that is not there": { path: "/bolthole.v1.RuntimeStoreService/Nothing", answers: ["UNIMPLEMENTED"] },
  "a service that is not there": { path: "/bolthole.v2.Store/AtomicApply", answers: ["UNIMPLEMENTED"] },
  "a path that is none": { path: "/", answers: ["UNIMPLEMENTED"] },
};

export interface BrokenAnswer {
  readonly name: string;
  readonly answer: string;
  readonly isExpected: boolean;
}

/** One call of ours with something broken around its message. */
export async function breakCall(client: RawClient, call: FuzzCall, random: Random): Promise<BrokenAnswer> {
  const [name, { frame = framed, headers = {}, path = call.path, answers }] = random.pick(
    Object.entries(BREAKS) as [[string, Break]],
  );
  const answer = nameOf(await client.call(path, frame(call.message), { headers }));
  return { name, answer, isExpected: answers.includes(answer) };
}
