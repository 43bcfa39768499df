import type { Committed, ExpectedSnapshot, RuntimeMutation, Version } from "@bolthole/contract";
import type { Sending } from "./sending.js";

/**
 * Names expected bytes that are held by their version, which costs neither side a digest. When that version is missed the
 * same bytes may still be current at another one: a miss has changed nothing and is kept nowhere, so they are asked for
 * once more.
 */
export async function sendExpected<A extends Committed>(
  { documents, unanswered }: Sending,
  { runtimeId, requestId, expected }: RuntimeMutation & { readonly expected: ExpectedSnapshot },
  commit: (expected: ExpectedSnapshot) => Promise<A | undefined>,
): Promise<A | undefined> {
  if (!("document" in expected)) return commit(expected);
  const attempt = async (sent: ExpectedSnapshot, version: Version | undefined): Promise<A | undefined> => {
    try {
      return await commit(sent);
    } catch (error) {
      unanswered.note(error, { expected: version });
      throw error;
    }
  };
  const version =
    requestId === undefined
      ? documents.versionOf(runtimeId, expected.document)
      : unanswered.basisOf(requestId)?.expected;
  const answer = version === undefined ? undefined : await attempt({ version }, version);
  const last = answer ?? (await attempt(expected, undefined));
  unanswered.forget(requestId);
  return last;
}
