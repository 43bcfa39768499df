import { type Damage, verdictOn, wrongLoad } from "./damage.js";
import type { ObservedStore } from "./observed-store.js";
import type { Applied, Step } from "./step.js";
import type { Subject } from "./subject.js";

/** Thrown when two stores differ, or when a store does what none may do. */
export class DifferenceError extends Error {
  override readonly name = "DifferenceError";
}

/** The result of a step in the reference store. */
interface Performed {
  readonly applied: Applied | undefined;
  readonly document: Buffer | undefined;
  /** Whether the step was performed only in a damaged store, which refused it. */
  readonly isSkipped: boolean;
}

const SKIPPED: Performed = { applied: undefined, document: undefined, isSkipped: true };

/** Stores that get the same requests. The first one is the reference: its versions are the ones in the requests. */
export class ComparedStores {
  constructor(readonly subjects: readonly Subject[]) {}

  get reference(): Subject {
    const [first] = this.subjects;
    if (!first) throw new RangeError("there are no stores");
    return first;
  }

  /** Opens all stores, with new caches and no uploads. */
  async open(isChecked: boolean): Promise<void> {
    for (const subject of this.subjects) {
      await subject.open(subject === this.reference ? undefined : this.reference.names, isChecked);
    }
  }

  async close(): Promise<void> {
    for (const subject of this.subjects) await subject.close();
  }

  /**
   * Performs a step in every store. Throws a `DifferenceError` unless all of them respond in the same way. `damage` is that of a
   * record which the step reads or changes.
   */
  async perform(step: Step, damage: Damage | undefined): Promise<Performed> {
    if (damage) {
      const performed = await this.performOverDamage(step, damage.subject);
      // The store time depends on when a store reads its clock, and one that refuses a step early does not.
      await Promise.all(this.subjects.map(({ observed }) => observed.store.getServerInfo({})));
      return performed;
    }
    const [applied] = await Promise.all(this.subjects.map((subject) => send(step, subject)));
    for (const subject of this.subjects.slice(1)) this.compare(step, subject);
    return this.performed(step, applied);
  }

  /**
   * Performs a step that reads or changes a damaged record. A change goes to the damaged store first. If that store refuses it
   * because of the damage, the other stores do not get it, so that their contents stay the same.
   */
  private async performOverDamage(step: Step, damaged: Subject): Promise<Performed> {
    const { reference } = this;
    const own = await send(step, damaged);
    const verdict = step.isMutation ? verdictOn(damaged.observed.observations, own) : undefined;
    refuseFaults(step, damaged);
    if (verdict === "refused as damaged") return SKIPPED;
    const sound = this.subjects.filter((subject) => subject !== damaged);
    const [applied] = await Promise.all(sound.map((subject) => send(step, subject)));
    for (const subject of sound.slice(1)) this.compare(step, subject);
    if (verdict === undefined) {
      const at = wrongLoad(reference.observed.observations, damaged.observed.observations);
      if (at !== undefined) throw difference(step, reference, damaged, at, "a load of a damaged record");
    } else {
      const [expected, found] = [reference, damaged].map(
        ({ observed }) => observed.observations.at(-1)?.refusal?.reason,
      );
      if (expected !== found) {
        throw difference(step, reference, damaged, undefined, "a change of a damaged record");
      }
      if (applied && own) damaged.pairs.note(applied.version, own.version);
    }
    return this.performed(step, applied);
  }

  private performed(step: Step, applied: Applied | undefined): Performed {
    refuseFaults(step, this.reference);
    return { applied, document: this.reference.observed.document, isSkipped: false };
  }

  private compare(step: Step, subject: Subject): void {
    const { reference } = this;
    if (subject.pairs.agree(reference.observed.text(), subject.observed.text())) return;
    const own = subject.observed.observations;
    const at = reference.observed.observations.findIndex((expected, index) => {
      const found = own[index];
      return !found || !subject.pairs.agree(JSON.stringify(expected), JSON.stringify(found));
    });
    throw difference(step, reference, subject, at < 0 ? undefined : at, "a response");
  }
}

const send = (step: Step, subject: Subject): Promise<Applied | undefined> =>
  subject.perform(step.disguise, (observed: ObservedStore) => step.send(observed));

/** Errors that no store may have for any request. */
const FAULTS = ["INTERNAL", "OUTCOME_UNKNOWN", "SHUTTING_DOWN", "BUSY", "DISK_FULL"];

function refuseFaults(step: Step, { name, observed }: Subject): void {
  const fault = observed.observations.find(
    ({ refusal }) => refusal && (!refusal.isStoreError || FAULTS.includes(refusal.reason)),
  );
  if (fault) throw new DifferenceError(`${step.name}: ${name}: ${shown(fault)}`);
}

function difference(step: Step, reference: Subject, subject: Subject, at: number | undefined, what: string): Error {
  const [expected, found] = [reference, subject].map(({ observed }) =>
    at === undefined ? observed.observations : observed.observations[at],
  );
  return new DifferenceError(
    [
      `${step.name}: ${what} differs, in the call ${at ?? "of the step"}`,
      `  requests: ${shown(reference.observed.requests)}`,
      `  ${reference.name}: ${shown(expected)}`,
      `  ${subject.name}: ${shown(found)}`,
    ].join("\n"),
  );
}

const MOST_CHARACTERS = 6000;

/** Returns a value as text that a person can compare. Bytes are only counted; the seed makes them again. */
function shown(value: unknown): string {
  const text = JSON.stringify(value, (_name, member: unknown) => {
    if (typeof member === "bigint") return `${String(member)}n`;
    const isBytes = typeof member === "object" && member !== null && "type" in member && member.type === "Buffer";
    return isBytes ? `${(member as unknown as { data: number[] }).data.length} bytes` : member;
  }) as string | undefined;
  return text?.slice(0, MOST_CHARACTERS) ?? "no call";
}
