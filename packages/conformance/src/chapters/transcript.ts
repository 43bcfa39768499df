import assert from "node:assert/strict";
import type { RuntimeStore } from "@bolthole/contract";
import { refused, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, receipt, sessionId } from "../fixtures.js";
import { type History, type Texts, appended, rewrite, someTexts, transcript } from "../transcripts.js";

const REJECTED = { variant: "WriteFailed", reason: "TRANSCRIPT_REJECTED" } as const;
const SAVE = `Store write failed: session ${sessionId(1)} save rejected: `;
const REWRITE = `Store write failed: session ${sessionId(1)} rewrite rejected: `;

const TEXTS = someTexts(6);

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

export const transcriptChapter = chapter(
  "transcript",
  ["transcriptRules"],
  [
    step("an apply may add messages at the end, and may add none", async ({ store }) => {
      const apply = await begin(store);
      await apply([...TEXTS, "more", "and more"]);
      await apply([...TEXTS, "more", "and more"]);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), transcript([...TEXTS, "more", "and more"]));
    }),

    step("an apply may take no message away and change none", async ({ store }) => {
      const apply = await begin(store);
      await refused(apply(TEXTS.slice(0, 5)), {
        ...REJECTED,
        message: `${SAVE}new message count 5 is shorter than previously persisted 6 without transcript-continuity proof`,
      });
      for (const changed of [TEXTS.with(0, "x"), TEXTS.with(5, "x"), [...TEXTS.slice(1), ...TEXTS]]) {
        const error = await refused(apply(changed), REJECTED);
        assert.match(error.message, /incoming transcript is not a continuation of persisted revision sha256:/);
      }
      sameBytes(await store.loadSessionSnapshot(RUNTIME), transcript(TEXTS));
    }),

    step("a first apply may bring messages, but no history", async ({ store }) => {
      const { texts, history } = rewrite(TEXTS, 1, 4, ["summary"]);
      const first = store.atomicApply(
        RUNTIME,
        { sessionSnapshot: transcript(texts, history) },
        receipt(1, 0n),
        [],
        undefined,
      );
      await refused(first, {
        ...REJECTED,
        message: `${REWRITE}incoming first save would seed transcript history state outside the rewrite/audit path`,
      });
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    step("a rewrite replaces the messages that its commit names, and turns go on from it", async ({ store }) => {
      const apply = await begin(store);
      const one = rewrite(TEXTS, 1, 4, ["summary"]);
      await store.commitSessionTranscriptRewriteSnapshot(RUNTIME, { sessionSnapshot: one.document }, one.commit);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), one.document);
      let { texts, history } = one;
      for (const text of ["a turn", "another turn"]) {
        texts = [...texts, text];
        history = appended(history, texts);
        await apply(texts, history);
        sameBytes(await store.loadSessionSnapshot(RUNTIME), transcript(texts, history));
      }
      await refused(apply([...texts, "more"]), {
        ...REJECTED,
        message: `${REWRITE}incoming save would erase retained transcript history state`,
      });
    }),

    step("a rewrite of another revision than the stored one is a conflict", async ({ store }) => {
      const apply = await begin(store);
      const stale = rewrite(TEXTS, 1, 4, ["summary"]);
      await apply([...TEXTS, "more"]);
      const late = store.commitSessionTranscriptRewriteSnapshot(
        RUNTIME,
        { sessionSnapshot: stale.document },
        stale.commit,
      );
      await refused(late, {
        variant: "TranscriptRevisionConflict",
        reason: "TRANSCRIPT_REVISION_CONFLICT",
        expected: stale.commit.parentRevision,
      });
      sameBytes(await store.loadSessionSnapshot(RUNTIME), transcript([...TEXTS, "more"]));
    }),

    step("a rewrite without its stored session, or with another commit, is refused", async ({ store }) => {
      const one = rewrite(TEXTS, 1, 4, ["summary"]);
      const commit = (actor?: string) =>
        store.commitSessionTranscriptRewriteSnapshot(
          RUNTIME,
          { sessionSnapshot: one.document },
          { ...one.commit, actor },
        );
      await refused(commit(), { ...REJECTED, message: `${REWRITE}rewrite target has no previously persisted session` });
      await begin(store);
      const error = await refused(commit("somebody"), REJECTED);
      assert.match(error.message, /did not persist the rewrite commit in the transcript graph/);
      await commit();
    }),
  ],
);
