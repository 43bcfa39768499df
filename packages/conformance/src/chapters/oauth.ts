import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { StoreError, internal, notFound, readFailed, unsupported, writeFailed } from "@bolthole/contract";
import {
  EMPTY_CONTENTS,
  assertEqual,
  assertSame,
  assertSameBytes,
  callConcurrently,
  contentsOf,
  rejectionOf,
} from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME } from "../fixtures.js";

const text = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString();

/** Values that a closure may throw. The caller must receive the same object. */
const THROWN: readonly unknown[] = [
  notFound("oauth flow claim lost"),
  internal("oauth flow claim lost: \u00e9\n"),
  writeFailed("VERSION_CONFLICT", "thrown by the closure"),
  readFailed("DAMAGED_RECORD", ""),
  unsupported(""),
  new TypeError("a mistake in the closure"),
  "no error at all",
  undefined,
];

/** OAuth flow state: opaque bytes of the store as a whole, and the update with a closure. */
export const oauthChapter = chapter(
  "oauth",
  [],
  [
    testCase("a load returns the persisted bytes unchanged, whatever their content", async ({ store }) => {
      assertEqual(await store.loadAuthOauthFlowSnapshot(), undefined);
      const values = [
        Buffer.from('{"browser":[],"device":[]}'),
        Buffer.alloc(0),
        Buffer.of(0xff, 0, 1),
        Buffer.alloc(400_000, 7),
      ];
      for (const bytes of values) {
        await store.persistAuthOauthFlowSnapshot(bytes);
        assertSameBytes(await store.loadAuthOauthFlowSnapshot(), bytes);
      }
    }),

    testCase("an update receives the current bytes, and its result replaces them", async ({ store }) => {
      const seen: (string | undefined)[] = [];
      for (const next of ["one", "", "two"]) {
        await store.updateAuthOauthFlowSnapshot((current) => {
          seen.push(text(current));
          return Buffer.from(next);
        });
        assertEqual(text(await store.loadAuthOauthFlowSnapshot()), next);
      }
      assertSame(seen, [undefined, "one", ""]);
    }),

    testCase("an update closure may be asynchronous", async ({ store }) => {
      await store.updateAuthOauthFlowSnapshot(async (current) => {
        await Promise.resolve();
        return Buffer.from(text(current) ?? "first");
      });
      assertEqual(text(await store.loadAuthOauthFlowSnapshot()), "first");
    }),

    testCase(
      "an error thrown by an update closure reaches the caller unchanged, and nothing is written",
      async ({ store }) => {
        for (const before of [undefined, "kept"]) {
          if (before !== undefined) await store.persistAuthOauthFlowSnapshot(Buffer.from(before));
          for (const thrown of THROWN) {
            const messageBefore = thrown instanceof Error ? thrown.message : undefined;
            const synchronous = store.updateAuthOauthFlowSnapshot(() => {
              throw thrown;
            });
            assertEqual(await rejectionOf(synchronous), thrown);
            // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a closure may throw any value
            assertEqual(await rejectionOf(store.updateAuthOauthFlowSnapshot(() => Promise.reject(thrown))), thrown);
            if (thrown instanceof Error) assertEqual(thrown.message, messageBefore);
            assertEqual(text(await store.loadAuthOauthFlowSnapshot()), before);
          }
        }
      },
    ),

    testCase(
      "an update closure runs again with the newer bytes when another writer changes them",
      async ({ store }) => {
        const seen: (string | undefined)[] = [];
        await store.persistAuthOauthFlowSnapshot(Buffer.from("a"));
        await store.updateAuthOauthFlowSnapshot(async (current) => {
          seen.push(text(current));
          if (seen.length === 1) await store.persistAuthOauthFlowSnapshot(Buffer.from("b"));
          return Buffer.from(`${String(text(current))}!`);
        });
        assertSame(seen, ["a", "b"]);
        assertEqual(text(await store.loadAuthOauthFlowSnapshot()), "b!");
      },
    ),

    testCase("an error thrown by a repeated run of a closure reaches the caller too", async ({ store }) => {
      const lost = notFound("claim lost");
      const call = store.updateAuthOauthFlowSnapshot(async (current) => {
        if (current) throw lost;
        await store.persistAuthOauthFlowSnapshot(Buffer.from("newer"));
        return Buffer.from("stale");
      });
      assertEqual(await rejectionOf(call), lost);
      assertEqual(text(await store.loadAuthOauthFlowSnapshot()), "newer");
    }),

    testCase("concurrent updates all take effect", async ({ store }) => {
      const names = Array.from({ length: 24 }, (_, n) => `flow-${String(n)}`);
      await callConcurrently(names.length, (n) =>
        store.updateAuthOauthFlowSnapshot((current) => Buffer.from(`${text(current) ?? ""}${String(names[n])} `)),
      );
      const stored = text(await store.loadAuthOauthFlowSnapshot())
        ?.trim()
        .split(" ");
      assertSame(stored?.toSorted(), names.toSorted());
    }),

    testCase(
      "a compare-and-set that misses returns the current bytes and their version",
      ["versions"],
      async ({ versioned }) => {
        const set = (expected: string | undefined, value: string) =>
          versioned.updateAuthOauthFlowSnapshot({ expected, snapshot: Buffer.from(value) });
        const first = await set(undefined, "one");
        assert.ok(first.updated, "expected an update where no state is stored, found a miss");
        const missed = await set(undefined, "two");
        assert.ok(!missed.updated, "expected a miss where state is stored, found an update");
        assertSame(missed.current, { value: Buffer.from("one"), version: first.version });
        const second = await set(first.version, "two");
        assert.ok(second.updated, "expected an update at the current version, found a miss");
        assert.notEqual(second.version, first.version);
        assertEqual((await set(first.version, "three")).updated, false, "update at an old version");
        assertSame(await versioned.loadAuthOauthFlowSnapshot({}), {
          value: Buffer.from("two"),
          version: second.version,
        });
      },
    ),

    testCase("OAuth state belongs to the store, not to a runtime", async ({ store }) => {
      await store.persistAuthOauthFlowSnapshot(Buffer.from("one"));
      for (const runtimeId of ["auth_oauth_flow_state", "oauth", ""]) {
        assertSame(await contentsOf(store, runtimeId), EMPTY_CONTENTS);
        await store.clearSessionSnapshot(runtimeId);
      }
      assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
      assertEqual(text(await store.loadAuthOauthFlowSnapshot()), "one");
    }),

    testCase("a subclass of StoreError thrown by an update closure keeps its class", async ({ store }) => {
      class Rejection extends StoreError {}
      const thrown = new Rejection("NotFound", "NOT_FOUND", "mine");
      const caught = await rejectionOf(
        store.updateAuthOauthFlowSnapshot(() => {
          throw thrown;
        }),
      );
      assertEqual(caught, thrown);
      assertEqual(caught instanceof Rejection, true, "instance of the subclass");
    }),
  ],
);
