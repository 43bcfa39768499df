import { readRewriteCommit, writeRewriteCommit } from "./transcript-history.js";

test("a rewrite commit is written as in the reference", () => {
  const commit =
    `{"parent_revision":"sha256:a","revision":"sha256:b","selection":{"type":"message_range","start":1,"end":2},` +
    `"original_span_digest":"c","replacement_digest":"d","messages_before":2,"messages_after":2,` +
    `"reason":{"kind":"compaction"},"actor":"x","committed_at":{"secs_since_epoch":1779982290,"nanos_since_epoch":500}}`;
  expect(writeRewriteCommit(readRewriteCommit(commit)).toString()).toBe(commit);
});
