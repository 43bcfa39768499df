import type { SystemTime, TranscriptRewriteCommit } from "@bolthole/contract";
import { writeRewriteCommit } from "@bolthole/json";
import type { Transcript } from "./transcript.js";
import type { WorkMeter } from "./work-meter.js";

/** Thrown when a history contradicts itself. The message is the reference's text (contract 10.2). */
export class MalformedHistoryError extends Error {
  override readonly name: string = "MalformedHistoryError";

  static because(reason: string): MalformedHistoryError {
    return new MalformedHistoryError(`transcript history state is malformed: ${reason}`);
  }
}

/** Thrown when parent pointers form a cycle. The reference would follow them without end (contract 10.9). */
export class HistoryCycleError extends MalformedHistoryError {
  override readonly name = "HistoryCycleError";

  constructor(revision: string) {
    super(`transcript history state is malformed: the parents of transcript revision ${revision} form a cycle`);
  }
}

/** The copy of the transcript that a history keeps for one revision. */
export interface Body {
  readonly revision: string;
  readonly parentRevision: string | undefined;
  readonly createdAt: SystemTime;
  readonly transcript: Transcript;
}

/** The members of a history as they are in the document. */
export interface HistoryContent {
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly bodies: readonly Body[];
}

/** A revision, and all revisions that its parent pointers lead to. */
interface Lineage {
  readonly revisions: ReadonlySet<string>;
  readonly hasCycle: boolean;
}

/** The work of one step along the parent pointers, in bytes. */
const STEP_WORK = 16;

/** The graph of a session's revisions, as the metadata contains it (contract 8.1). Reading it proves nothing about it. */
export class History implements HistoryContent {
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly bodies: readonly Body[];
  private readonly bodyOf = new Map<string, Body>();
  private readonly lineages = new Map<string, Lineage>();
  private commitSet: ReadonlySet<string> | undefined;
  private texts: readonly string[] | undefined;

  constructor(
    { head, commits, bodies }: HistoryContent,
    private readonly meter: WorkMeter,
  ) {
    this.head = head;
    this.commits = commits;
    this.bodies = bodies;
    for (const body of bodies) if (!this.bodyOf.has(body.revision)) this.bodyOf.set(body.revision, body);
  }

  /** Returns the body of a revision; the first one if several have the same name (contract 8.1). */
  body(revision: string): Body | undefined {
    return this.bodyOf.get(revision);
  }

  /** Whether the parent pointers lead from `revision` to `ancestor`. Throws `HistoryCycleError` when they do not end. */
  descends(revision: string, ancestor: string): boolean {
    this.meter.charge(STEP_WORK);
    const { revisions, hasCycle } = this.lineage(revision);
    if (revisions.has(ancestor)) return true;
    if (hasCycle) throw new HistoryCycleError(revision);
    return false;
  }

  /** Whether one of the commits equals `commit` in every member. */
  hasCommit(commit: TranscriptRewriteCommit): boolean {
    this.commitSet ??= new Set(this.commitTexts());
    return this.commitSet.has(commitText(commit));
  }

  /** Whether the commits begin with all commits of another history. */
  startsWithCommitsOf(other: History): boolean {
    const texts = this.commitTexts();
    return other.commitTexts().every((text, index) => text === texts[index]);
  }

  private commitTexts(): readonly string[] {
    this.texts ??= this.commits.map(commitText);
    return this.texts;
  }

  private lineage(revision: string): Lineage {
    const known = this.lineages.get(revision);
    if (known) return known;
    const revisions = new Set([revision]);
    let hasCycle = false;
    for (let parent = this.body(revision)?.parentRevision; parent !== undefined;) {
      if (revisions.has(parent)) {
        hasCycle = true;
        break;
      }
      this.meter.charge(parent.length);
      revisions.add(parent);
      parent = this.body(parent)?.parentRevision;
    }
    const lineage = { revisions, hasCycle };
    this.lineages.set(revision, lineage);
    return lineage;
  }
}

/** Commits are equal when their canonical JSON is equal (contract 8.2). */
const commitText = (commit: TranscriptRewriteCommit): string => writeRewriteCommit(commit).toString("latin1");
