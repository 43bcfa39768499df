import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { StoreError, internal, notFound, readFailed, unsupported, writeFailed } from "@bolthole/contract";
import { EMPTY_CONTENTS, contents, rejection, same, sameBytes, together } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME } from "../fixtures.js";

const text = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString();

/** Everything that a closure may throw; each has to come back as the very same object. */
const THROWN: readonly unknown[] = [
  notFound("oauth flow claim lost"),
  internal("oauth flow claim lost: \u00e9\n"),
  writeFailed("VERSION_CONFLICT", "of the closure's own"),
  readFailed("DAMAGED_RECORD", ""),
  unsupported(""),
  new TypeError("a mistake in the closure"),
  "no error at all",
  undefined,
];

export const oauthChapter = chapter(
  "oauth",
  [],
  [
    step("the bytes come back as they were, whatever they are", async ({ store }) => {
      assert.equal(await store.loadAuthOauthFlowSnapshot(), undefined);
      const values = [
        Buffer.from('{"browser":[],"device":[]}'),
        Buffer.alloc(0),
        Buffer.of(0xff, 0, 1),
        Buffer.alloc(400_000, 7),
      ];
      for (const bytes of values) {
        await store.persistAuthOauthFlowSnapshot(bytes);
        sameBytes(await store.loadAuthOauthFlowSnapshot(), bytes);
      }
    }),

    step("an update sees the current bytes, and its answer replaces them", async ({ store }) => {
      const seen: (string | undefined)[] = [];
      for (const next of ["one", "", "two"]) {
        await store.updateAuthOauthFlowSnapshot((current) => {
          seen.push(text(current));
          return Buffer.from(next);
        });
        assert.equal(text(await store.loadAuthOauthFlowSnapshot()), next);
      }
      same(seen, [undefined, "one", ""]);
    }),

    step("a closure may be asynchronous", async ({ store }) => {
      await store.updateAuthOauthFlowSnapshot(async (current) => {
        await Promise.resolve();
        return Buffer.from(text(current) ?? "first");
      });
      assert.equal(text(await store.loadAuthOauthFlowSnapshot()), "first");
    }),

    step("what a closure throws reaches the caller untouched, and nothing is written", async ({ store }) => {
      for (const before of [undefined, "kept"]) {
        if (before !== undefined) await store.persistAuthOauthFlowSnapshot(Buffer.from(before));
        for (const thrown of THROWN) {
          const messageBefore = thrown instanceof Error ? thrown.message : undefined;
          const synchronous = store.updateAuthOauthFlowSnapshot(() => {
            throw thrown;
          });
          assert.equal(await rejection(synchronous), thrown);
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- what it throws is the closure's own
          assert.equal(await rejection(store.updateAuthOauthFlowSnapshot(() => Promise.reject(thrown))), thrown);
          if (thrown instanceof Error) assert.equal(thrown.message, messageBefore);
          assert.equal(text(await store.loadAuthOauthFlowSnapshot()), before);
        }
      }
    }),

    step("a closure runs again, with the newer bytes, when they change under it", async ({ store }) => {
      const seen: (string | undefined)[] = [];
      await store.persistAuthOauthFlowSnapshot(Buffer.from("a"));
      await store.updateAuthOauthFlowSnapshot(async (current) => {
        seen.push(text(current));
        if (seen.length === 1) await store.persistAuthOauthFlowSnapshot(Buffer.from("b"));
        return Buffer.from(`${String(text(current))}!`);
      });
      same(seen, ["a", "b"]);
      assert.equal(text(await store.loadAuthOauthFlowSnapshot()), "b!");
    }),

    step("an error of a later run reaches the caller too", async ({ store }) => {
      const lost = notFound("claim lost");
      const call = store.updateAuthOauthFlowSnapshot(async (current) => {
        if (current) throw lost;
        await store.persistAuthOauthFlowSnapshot(Buffer.from("newer"));
        return Buffer.from("stale");
      });
      assert.equal(await rejection(call), lost);
      assert.equal(text(await store.loadAuthOauthFlowSnapshot()), "newer");
    }),

    step("concurrent updates all take effect", async ({ store }) => {
      const names = Array.from({ length: 24 }, (_, n) => `flow-${String(n)}`);
      await together(names.length, (n) =>
        store.updateAuthOauthFlowSnapshot((current) => Buffer.from(`${text(current) ?? ""}${String(names[n])} `)),
      );
      const landed = text(await store.loadAuthOauthFlowSnapshot())
        ?.trim()
        .split(" ");
      same(landed?.toSorted(), names.toSorted());
    }),

    step("a compare-and-set that misses answers the bytes in its way", ["versions"], async ({ versioned }) => {
      const set = (expected: string | undefined, value: string) =>
        versioned.updateAuthOauthFlowSnapshot({ expected, snapshot: Buffer.from(value) });
      const first = await set(undefined, "one");
      assert.ok(first.updated);
      const missed = await set(undefined, "two");
      assert.ok(!missed.updated);
      same(missed.current, { value: Buffer.from("one"), version: first.version });
      const second = await set(first.version, "two");
      assert.ok(second.updated);
      assert.notEqual(second.version, first.version);
      assert.ok(!(await set(first.version, "three")).updated, "a version is passed once only");
      same(await versioned.loadAuthOauthFlowSnapshot({}), { value: Buffer.from("two"), version: second.version });
    }),

    step("the state belongs to the store, not to a runtime", async ({ store }) => {
      await store.persistAuthOauthFlowSnapshot(Buffer.from("one"));
      for (const runtimeId of ["auth_oauth_flow_state", "oauth", ""]) {
        same(await contents(store, runtimeId), EMPTY_CONTENTS);
        await store.clearSessionSnapshot(runtimeId);
      }
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
      assert.equal(text(await store.loadAuthOauthFlowSnapshot()), "one");
    }),

    step("a store error of a closure stays an error of its own class", async ({ store }) => {
      class Rejection extends StoreError {}
      const thrown = new Rejection("NotFound", "NOT_FOUND", "mine");
      const caught = await rejection(
        store.updateAuthOauthFlowSnapshot(() => {
          throw thrown;
        }),
      );
      assert.ok(caught instanceof Rejection);
    }),
  ],
);
