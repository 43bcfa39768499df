/** A history that contradicts itself. The message is the reference's text. */
export class MalformedHistory extends Error {
  static because(reason: string): MalformedHistory {
    return new MalformedHistory(`transcript history state is malformed: ${reason}`);
  }
}

/** Parent pointers that lead in a circle, which the reference would follow for ever (section 14.9). */
export class EndlessWalk extends MalformedHistory {
  constructor(revision: string) {
    super(`transcript history state is malformed: the parents of transcript revision ${revision} form a cycle`);
  }
}
