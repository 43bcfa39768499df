import { deflateRawSync } from "node:zlib";
import { MemoryEngine, createEngineStore, transcriptMessagesDigest } from "@bolthole/core";
import { Random } from "@bolthole/core/testing";
import { readSession, readTranscriptHistory, writeSession } from "@bolthole/json";
import { Conversation } from "./conversation.js";

const ID = "0198f0a0-0000-7000-8000-000000000001";
const RUNTIME = { runtimeId: "agent:conversation" };

test("a conversation is canonical JSON, and the store accepts every boundary and rewrite of it", async () => {
  const store = createEngineStore(new MemoryEngine());
  const conversation = new Conversation(ID, new Random(1)).growTo(20_000, 3000);
  let sequence = 0n;
  const send = (): Promise<unknown> => {
    const document = conversation.document();
    const session = readSession(document);
    expect(writeSession(session).equals(document)).toBe(true);
    expect(transcriptMessagesDigest(session.messages)).toBe(conversation.digest());
    sequence += 1n;
    return store.atomicApply({
      ...RUNTIME,
      sessionDelta: { sessionSnapshot: document },
      receipt: { runId: ID, boundary: "run_start", contributingInputIds: [], messageCount: 0n, sequence },
      inputUpdates: [],
      sessionStoreKey: ID,
    });
  };
  await send();
  for (let rewrites = 0; rewrites < 3; rewrites += 1) {
    conversation.addTurn(2000);
    await send();
    const commit = conversation.rewrite(1, 3);
    const sessionDelta = { sessionSnapshot: conversation.document() };
    await store.commitSessionTranscriptRewriteSnapshot({ ...RUNTIME, sessionDelta, commit });
    conversation.addTurn(2000);
    await send();
  }
  const history = readTranscriptHistory(readSession(conversation.document()).metadata);
  expect(history?.commits).toHaveLength(3);
  // The first parent, each later turn, and the result of each rewrite.
  expect(history?.revisions).toHaveLength(1 + 5 + 3);
});

test("a conversation grows to the given size, with text that compresses little", () => {
  const document = new Conversation(ID, new Random(2)).growTo(200_000, 8000).document();
  expect(document.length).toBeGreaterThan(200_000);
  expect(document.length).toBeLessThan(205_000);
  expect(deflateRawSync(document).length).toBeGreaterThan(document.length * 0.6);
});
