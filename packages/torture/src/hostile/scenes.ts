import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { type NetConnectOpts, connect as connectSocket } from "node:net";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { RuntimeStoreService } from "@bolthole/contract/wire";
import {
  END_HEADERS,
  FRAME,
  beginCall,
  frame,
  framed,
  indexedHeaders,
  literalHeaders,
  preface,
  resetCalls,
} from "@bolthole/conformance/http2-frames";

/** The server that a scene attacks. */
export interface Target {
  /** Where every call is allowed. */
  readonly open: NetConnectOpts;
  /** Where calls need a token, except health checks. */
  readonly tcp: NetConnectOpts;
  readonly methods: Methods;
  /** The largest message that the server accepts, in bytes. */
  readonly largest: number;
  /** The request that loads a large value in a stream of messages, in base64. */
  readonly loadLarge: string;
  /** The request that loads a large value in one message, in base64. */
  readonly loadOne: string;
  /** The request of a watch, in base64. */
  readonly watch: string;
}

/** The paths of RPCs. */
export interface Methods {
  /** Stores a value. */
  readonly commit: string;
  /** Loads a value. */
  readonly load: string;
  /** Loads a value in one message. */
  readonly loadOne: string;
  /** Needs no token. */
  readonly check: string;
  /** A stream that stays open. */
  readonly watch: string;
}

/** An attack: it sends what it has to send, and then holds what it has until the process ends. Resolves to a count for the report. */
type Scene = (target: Target) => Promise<number>;

/** The size of the document that stalled readers load. */
export const LARGE_BYTES = 20 * 1024 * 1024;

const MEBIBYTE = 1024 * 1024;
const SERVICE = "/bolthole.v1.RuntimeStoreService";
const APPLY = `${SERVICE}/AtomicApply`;
const UPLOAD = `${SERVICE}/UploadSessionSnapshot`;
export const CHECK = "/grpc.health.v1.Health/Check";
export const BOLTHOLE_METHODS: Methods = {
  commit: `${SERVICE}/CommitSessionSnapshot`,
  load: `${SERVICE}/LoadSessionSnapshot`,
  loadOne: `${SERVICE}/LoadOpsLifecycle`,
  check: CHECK,
  watch: "/grpc.health.v1.Health/Watch",
};
/** The number of the field with the rows of an apply. */
const INPUT_UPDATES = RuntimeStoreService.method.atomicApply.input.field.inputUpdates.number;
const VARINT = 0;
const LENGTH_DELIMITED = 2;
/** The largest message of the default settings of Bolthole. */
export const LARGEST = 32 * MEBIBYTE;
/** So many calls begin together. The next ones begin when these have sent what they send. */
const AT_ONCE = 100;
const SEND_MS = 2_000;

/** What a stream receives although its client does not read it. */
const WINDOW_BYTES = MEBIBYTE;

function sessionTo(where: NetConnectOpts, windowBytes: number): ClientHttp2Session {
  const session = connect("http://localhost", {
    createConnection: () => connectSocket(where),
    peerMaxConcurrentStreams: 100_000,
    settings: { initialWindowSize: windowBytes },
  });
  session.on("error", () => undefined);
  return session;
}

/** Sends bytes. Resolves when they were sent, when the daemon ended the call, or after SEND_MS: a refused call sends no more. */
function send(stream: ClientHttp2Stream, bytes: Buffer, { end = false, withinMs = SEND_MS } = {}): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, withinMs);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    stream.once("close", done);
    stream.once("response", done);
    if (end) stream.end(bytes, done);
    else stream.write(bytes, done);
  });
}

/** Performs an action for each number below `count`, some at a time. */
async function each(count: number, act: (number: number) => Promise<unknown>, atOnce = AT_ONCE): Promise<number> {
  for (let from = 0; from < count; from += atOnce) {
    await Promise.all(Array.from({ length: Math.min(atOnce, count - from) }, (_, index) => act(from + index)));
  }
  return count;
}

const sessionsTo = (
  where: NetConnectOpts,
  count: number,
  windowBytes = WINDOW_BYTES,
): ((number: number) => ClientHttp2Session) => {
  const sessions = Array.from({ length: count }, () => sessionTo(where, windowBytes));
  return (number) => {
    const session = sessions[number % count];
    if (session && !session.destroyed && !session.closed) return session;
    // The daemon has closed the connection.
    return (sessions[number % count] = sessionTo(where, windowBytes));
  };
};

/** Messages of 32 KB that unfold to 32 MiB, on a method that needs no token. */
const compressedMessages: Scene = ({ tcp, methods }) => {
  const session = sessionsTo(tcp, 4);
  const message = framed(gzipSync(Buffer.alloc(LARGEST - 1024)), 1);
  return each(300, (number) =>
    send(beginCall(session(number), methods.check, { "grpc-encoding": "gzip" }), message, { end: true }),
  );
};

/** Messages of the largest size without their last byte. */
const unfinishedMessages: Scene = ({ open: where, methods, largest }) => {
  const session = sessionsTo(where, 6);
  const message = framed(Buffer.alloc(largest)).subarray(0, -1);
  return each(60, (number) => send(beginCall(session(number), methods.commit), message));
};

/** Whole messages of the largest size whose calls do not end. */
const unendedCalls: Scene = ({ open: where, methods, largest }) => {
  const session = sessionsTo(where, 6);
  const message = framed(Buffer.alloc(largest - 5));
  return each(60, (number) => send(beginCall(session(number), methods.commit), message));
};

/** Returns a message of the largest size that is one field of two bytes, again and again. */
const repeated = (number: number, wireType: number): Buffer => {
  const long = number > 15;
  const tag = long
    ? Buffer.of(((number & 15) << 3) | wireType | 128, number >> 4)
    : Buffer.of((number << 3) | wireType);
  const field = Buffer.concat([tag, Buffer.of(0)]);
  return framed(Buffer.alloc(Math.floor(LARGEST / field.length) * field.length, field));
};

/** Sends whole messages of the largest size, as many at once as the daemon receives, and waits for their responses. */
function sendWhole(where: NetConnectOpts, path: (number: number) => string, message: Buffer): Promise<number> {
  const session = sessionsTo(where, 2);
  const whole = { end: true, withinMs: 10 * SEND_MS };
  return each(30, (number) => send(beginCall(session(number), path(number)), message, whole), 6);
}

/** Messages whose objects need fifty times the memory of their bytes: a list of empty rows. */
const emptyRows: Scene = ({ open: where }) => sendWhole(where, () => APPLY, repeated(INPUT_UPDATES, LENGTH_DELIMITED));

/** Messages of fields that no type has, which are kept with their numbers; half of them in a call with a stream of responses. */
const unknownFields: Scene = ({ open: where, methods: { commit, load } }) =>
  sendWhole(where, (number) => (number % 2 ? commit : load), repeated(100, VARINT));

/** Messages whose known field has the wire type of another one. */
const wrongWireTypes: Scene = ({ open: where }) => sendWhole(where, () => APPLY, repeated(INPUT_UPDATES, VARINT));

/** A frame of one byte has 10 bytes on the wire. */
const ONE_BYTE_CALLS = 200;
const ONE_BYTE_FRAMES = 35_000;

/** Messages in frames of one byte: each frame costs a receiver much more than its byte. */
const oneByteFrames: Scene = async ({ open: where, methods, largest }) => {
  // The window of a connection is 64 KiB, until the daemon has received the bytes.
  return each(ONE_BYTE_CALLS, async () => {
    const connection = connectSocket(where);
    connection.on("error", () => undefined).resume();
    connection.write(Buffer.concat([preface(), frame(FRAME.headers, END_HEADERS, 1, literalHeaders(methods.commit))]));
    const start = [...framed(Buffer.alloc(0), 0, largest)].map((byte) => frame(FRAME.data, 0, 1, Buffer.of(byte)));
    const one = frame(FRAME.data, 0, 1, Buffer.of(0));
    const bytes = Buffer.concat([...start, ...Array.from({ length: ONE_BYTE_FRAMES }, () => one)]);
    await new Promise<void>((resolve) => {
      connection.once("close", resolve);
      setTimeout(resolve, SEND_MS);
      connection.write(bytes, () => {
        resolve();
      });
    });
  });
};

/** Readers of a large document that do not read: on a few connections, each of which has many. */
const stalledReaders: Scene = (target) => loadAndStall(target, 4, 2000);

/** Smaller than a response. */
const SMALL_WINDOW_BYTES = 64 * 1024;

/** Readers of large responses of one message that do not read. */
const unreadResponses: Scene = ({ open: where, methods, loadOne }) =>
  callAndStall(where, 40, 2000, methods.loadOne, loadOne, SMALL_WINDOW_BYTES);

const loadAndStall = ({ open: where, methods, loadLarge }: Target, connections: number, calls: number) =>
  callAndStall(where, connections, calls, methods.load, loadLarge);

/** Sends calls with this request, and reads no response. */
function callAndStall(
  where: NetConnectOpts,
  connections: number,
  calls: number,
  path: string,
  request: string,
  windowBytes = WINDOW_BYTES,
): Promise<number> {
  const session = sessionsTo(where, connections, windowBytes);
  const message = framed(Buffer.from(request, "base64"));
  return each(calls, (number) => send(beginCall(session(number), path), message, { end: true }));
}

/** Readers that do not read, each on few streams of a connection of its own. */
const manyStalledConnections: Scene = (target) => loadAndStall(target, 400, 1600);

/** Watches of the health service, which needs no token. */
const healthWatches: Scene = ({ tcp, methods, watch }) => {
  const session = sessionsTo(tcp, 40);
  const request = framed(Buffer.from(watch, "base64"));
  return each(40_000, (number) => send(beginCall(session(number), methods.watch), request, { end: watch === "" }));
};

/** Calls with headers as large as they may be, and nothing else. */
const largeHeaders: Scene = ({ tcp, methods }) => {
  const session = sessionsTo(tcp, 20);
  const headers = Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, "x".repeat(3_900)]));
  return each(10_000, (number) => send(beginCall(session(number), methods.check, headers), Buffer.alloc(1)));
};

const INDEXED_CONNECTIONS = 4;
const INDEXED_CALLS = 2_000;
/** So many frames are written together: a client need not hold all. */
const INDEXED_AT_ONCE = 16;

/** Calls with headers that are small on the wire and unfold to 60 MiB each. Node refuses them, and no event tells of them. */
const headerReferences: Scene = async ({ tcp, methods }) => {
  const { first, later } = indexedHeaders(methods.check);
  await each(INDEXED_CONNECTIONS, async () => {
    const connection = connectSocket(tcp);
    connection.on("error", () => undefined).resume();
    const ended = new Promise<void>((resolve) => {
      connection.once("close", resolve);
      setTimeout(resolve, 10 * SEND_MS);
    });
    const write = (bytes: Buffer): Promise<void> =>
      new Promise((resolve) => {
        connection.write(bytes, () => {
          resolve();
        });
      });
    await write(preface());
    for (let call = 0; call < INDEXED_CALLS && !connection.destroyed; call += INDEXED_AT_ONCE) {
      const frames = Array.from({ length: INDEXED_AT_ONCE }, (_, index) =>
        frame(FRAME.headers, END_HEADERS, 2 * (call + index) + 1, call + index === 0 ? first : later),
      );
      await Promise.race([ended, write(Buffer.concat(frames))]);
    }
  });
  return INDEXED_CONNECTIONS * INDEXED_CALLS;
};

/** Calls that are refused for their missing token, and that their clients do not end. */
const refusedCalls: Scene = ({ tcp, methods }) => {
  const session = sessionsTo(tcp, 20);
  return each(20_000, (number) => send(beginCall(session(number), methods.commit), framed(Buffer.alloc(1000))));
};

const DECLARED_BYTES = 256 * MEBIBYTE;
/** More than all calls that the daemon takes at the same time. */
const IDLE_UPLOADS = 4_200;

/** Uploads that declare large documents, send a few bytes, and then nothing. */
const idleUploads: Scene = ({ open: where }) => {
  const session = sessionsTo(where, 8);
  const { input } = RuntimeStoreService.method.uploadSessionSnapshot;
  const upload = { runtimeId: "(unledgered) idle", length: BigInt(DECLARED_BYTES) };
  const parts = [
    { case: "upload", value: upload } as const,
    { case: "chunk", value: Buffer.from('{"a":1') } as const,
  ].map((part) => framed(Buffer.from(toBinary(input, create(input, { part })))));
  const message = Buffer.concat(parts);
  return each(IDLE_UPLOADS, (number) => send(beginCall(session(number), UPLOAD), message));
};

/** Connections that send nothing: as many as the daemon takes. */
const silentConnections: Scene = ({ tcp }) => {
  const connectSilently = (): Promise<void> =>
    new Promise((resolve) => {
      const connection = connectSocket(tcp, resolve).on("error", () => undefined);
      connection.once("close", resolve).resume();
    });
  return each(1_200, connectSilently);
};

const RESET_CONNECTIONS = 200;
const RESETS = 2_000;

/** Calls that are reset as soon as they have begun. */
const callsReset: Scene = async ({ tcp, methods }) => {
  const bytes = resetCalls(methods.check, RESETS);
  await each(
    RESET_CONNECTIONS,
    () =>
      new Promise<void>((resolve) => {
        const connection = connectSocket(tcp);
        connection.on("error", () => undefined).resume();
        connection.once("close", resolve);
        setTimeout(resolve, SEND_MS);
        connection.write(bytes, () => {
          resolve();
        });
      }),
    10,
  );
  return RESET_CONNECTIONS * RESETS;
};

const REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const SYMBOL = "bolthole.v1.RuntimeStoreService";

/** Streams of questions about the protocol whose responses are not read. */
const reflection: Scene = ({ open: where }) => {
  const session = sessionsTo(where, 8);
  // The field `file_containing_symbol`.
  const question = framed(Buffer.from([34, SYMBOL.length, ...Buffer.from(SYMBOL)]));
  const questions = Buffer.concat(Array.from({ length: 100 }, () => question));
  return each(2_000, (number) => send(beginCall(session(number), REFLECTION), questions));
};

export const SCENES: Readonly<Record<string, Scene>> = {
  "compressed messages": compressedMessages,
  "unfinished messages": unfinishedMessages,
  "calls without an end": unendedCalls,
  "empty rows": emptyRows,
  "unknown fields": unknownFields,
  "wrong wire types": wrongWireTypes,
  "frames of one byte": oneByteFrames,
  "stalled readers": stalledReaders,
  "stalled readers on many connections": manyStalledConnections,
  "unread responses": unreadResponses,
  "health watches": healthWatches,
  "large headers": largeHeaders,
  "references to a header": headerReferences,
  "refused calls": refusedCalls,
  "reset calls": callsReset,
  "reflection without a reader": reflection,
  "idle uploads": idleUploads,
  "silent connections": silentConnections,
};
