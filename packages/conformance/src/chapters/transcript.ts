import assert from "node:assert/strict";
import type { RuntimeStore } from "@bolthole/contract";
import { assertEqual, assertRefused, assertSameBytes } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import {
  type History,
  RUNTIME,
  type Texts,
  appended,
  receipt,
  rewrite,
  sessionId,
  someTexts,
  transcript,
} from "../fixtures.js";

const REJECTED = { variant: "WriteFailed", reason: "TRANSCRIPT_REJECTED" } as const;
const SAVE = `Store write failed: session ${sessionId(1)} save rejected: `;
const REWRITE = `Store write failed: session ${sessionId(1)} rewrite rejected: `;

const TEXTS = someTexts(6);

/** Applies a first transcript, and returns a function that applies the next one with a new receipt. */
async function begin(
  store: RuntimeStore,
  texts: Texts = TEXTS,
): Promise<(texts: Texts, history?: History) => Promise<void>> {
  let sequence = 0n;
  const apply = (next: Texts, history?: History) =>
    store.atomicApply(RUNTIME, { sessionSnapshot: transcript(next, history) }, receipt(1, sequence++), [], undefined);
  await apply(texts);
  return apply;
}

/** Transcript rules: which document may follow the stored one, in an apply and in a rewrite. */
export const transcriptChapter = chapter(
  "transcript",
  ["transcriptRules"],
  [
    testCase("an apply may append messages or leave them unchanged", async ({ store }) => {
      const apply = await begin(store);
      await apply([...TEXTS, "more", "and more"]);
      await apply([...TEXTS, "more", "and more"]);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), transcript([...TEXTS, "more", "and more"]));
    }),

    testCase("an apply that removes or changes messages is refused", async ({ store }) => {
      const apply = await begin(store);
      await assertRefused(apply(TEXTS.slice(0, 5)), {
        ...REJECTED,
        message: `${SAVE}new message count 5 is shorter than previously persisted 6 without transcript-continuity proof`,
      });
      for (const changed of [TEXTS.with(0, "x"), TEXTS.with(5, "x"), [...TEXTS.slice(1), ...TEXTS]]) {
        const error = await assertRefused(apply(changed), REJECTED);
        assert.match(error.message, /incoming transcript is not a continuation of persisted revision sha256:/);
      }
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), transcript(TEXTS));
    }),

    testCase("a first apply with a transcript history is refused", async ({ store }) => {
      const { texts, history } = rewrite(TEXTS, 1, 4, ["summary"]);
      const first = store.atomicApply(
        RUNTIME,
        { sessionSnapshot: transcript(texts, history) },
        receipt(1, 0n),
        [],
        undefined,
      );
      await assertRefused(first, {
        ...REJECTED,
        message: `${REWRITE}incoming first save would seed transcript history state outside the rewrite/audit path`,
      });
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    testCase(
      "a rewrite replaces the messages that its commit names, and later applies continue from it",
      async ({ store }) => {
        const apply = await begin(store);
        const one = rewrite(TEXTS, 1, 4, ["summary"]);
        await store.commitSessionTranscriptRewriteSnapshot(RUNTIME, { sessionSnapshot: one.document }, one.commit);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), one.document);
        let { texts, history } = one;
        for (const text of ["one more", "and another"]) {
          texts = [...texts, text];
          history = appended(history, texts);
          await apply(texts, history);
          assertSameBytes(await store.loadSessionSnapshot(RUNTIME), transcript(texts, history));
        }
        await assertRefused(apply([...texts, "more"]), {
          ...REJECTED,
          message: `${REWRITE}incoming save would erase retained transcript history state`,
        });
      },
    ),

    testCase("a rewrite of a revision that is not the stored one is a conflict", async ({ store }) => {
      const apply = await begin(store);
      const stale = rewrite(TEXTS, 1, 4, ["summary"]);
      await apply([...TEXTS, "more"]);
      const late = store.commitSessionTranscriptRewriteSnapshot(
        RUNTIME,
        { sessionSnapshot: stale.document },
        stale.commit,
      );
      await assertRefused(late, {
        variant: "TranscriptRevisionConflict",
        reason: "TRANSCRIPT_REVISION_CONFLICT",
        expected: stale.commit.parentRevision,
      });
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), transcript([...TEXTS, "more"]));
    }),

    testCase(
      "a rewrite is refused without a stored session, and with a commit that the document does not contain",
      async ({ store }) => {
        const one = rewrite(TEXTS, 1, 4, ["summary"]);
        const commit = (actor?: string) =>
          store.commitSessionTranscriptRewriteSnapshot(
            RUNTIME,
            { sessionSnapshot: one.document },
            { ...one.commit, actor },
          );
        await assertRefused(commit(), {
          ...REJECTED,
          message: `${REWRITE}rewrite target has no previously persisted session`,
        });
        await begin(store);
        const error = await assertRefused(commit("another actor"), REJECTED);
        assert.match(error.message, /did not persist the rewrite commit in the transcript graph/);
        await commit();
      },
    ),
  ],
);
