import type { SystemTime, TranscriptRewriteCommit } from "@bolthole/contract";
import { type TranscriptHistory, writeRewriteCommit } from "@bolthole/json";
import { EndlessWalk } from "./malformed-history.js";
import type { RememberedHistory } from "./remembered-session.js";
import { type CheckTools, Transcript } from "./transcript.js";
import type { WorkMeter } from "./work-meter.js";

/** A retained copy of the transcript at one revision. */
export interface Body {
  readonly revision: string;
  readonly parentRevision: string | undefined;
  readonly createdAt: SystemTime;
  readonly transcript: Transcript;
}

/** What one step along the graph costs, in bytes. */
const STEP_WORK = 16;

interface Lineage {
  readonly revisions: ReadonlySet<string>;
  /** Its end is its own beginning. */
  readonly isEndless: boolean;
}

/** The graph of a session's revisions (section 7.7), as its metadata has it: nothing in it is known to be true. */
export class History {
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly bodies: readonly Body[];
  private readonly byRevision = new Map<string, Body>();
  private readonly lineages = new Map<string, Lineage>();
  private held: ReadonlySet<string> | undefined;
  private texts: readonly string[] | undefined;

  private constructor(
    head: string,
    commits: readonly TranscriptRewriteCommit[],
    bodies: readonly Body[],
    private readonly meter: WorkMeter,
  ) {
    this.head = head;
    this.commits = commits;
    this.bodies = bodies;
    for (const body of this.bodies) if (!this.byRevision.has(body.revision)) this.byRevision.set(body.revision, body);
  }

  static read({ head, commits, revisions }: TranscriptHistory, tools: CheckTools): History {
    const bodies = revisions.map(({ revision, parentRevision, createdAt, messages }) => ({
      revision,
      parentRevision,
      createdAt,
      transcript: Transcript.read(messages, tools),
    }));
    return new History(head, commits, bodies, tools.meter);
  }

  static remembered({ head, commits, bodies }: RememberedHistory, tools: CheckTools): History {
    const read = bodies.map(({ revision, parentRevision, createdAt, messages }) => ({
      revision,
      parentRevision,
      createdAt,
      transcript: Transcript.remembered(messages.messages, tools),
    }));
    return new History(head, commits, read, tools.meter);
  }

  /** Of several bodies with one name the first one counts (section 15.18). */
  body(revision: string): Body | undefined {
    return this.byRevision.get(revision);
  }

  /** Whether the parent pointers lead from one revision to the other. */
  descends(revision: string, ancestor: string): boolean {
    this.meter.charge(STEP_WORK);
    const { revisions, isEndless } = this.lineage(revision);
    if (revisions.has(ancestor)) return true;
    if (isEndless) throw new EndlessWalk(revision);
    return false;
  }

  /** Whether one of the commits equals this one in every member. */
  holds(commit: TranscriptRewriteCommit): boolean {
    this.held ??= new Set(this.commitTexts());
    return this.held.has(commitText(commit));
  }

  /** Whether the commits start with those of another history. */
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
    let isEndless = false;
    for (let parent = this.body(revision)?.parentRevision; parent !== undefined;) {
      if (revisions.has(parent)) {
        isEndless = true;
        break;
      }
      this.meter.charge(parent.length);
      revisions.add(parent);
      parent = this.body(parent)?.parentRevision;
    }
    const lineage = { revisions, isEndless };
    this.lineages.set(revision, lineage);
    return lineage;
  }
}

/** Commits are equal when their written forms are (section 7.7). */
const commitText = (commit: TranscriptRewriteCommit): string => writeRewriteCommit(commit).toString("latin1");
