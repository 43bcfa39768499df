import { type StoreError, writeFailed } from "@bolthole/contract";
import type { Row, RowKey, WriteBatch } from "../engine.js";
import {
  type Apply,
  type Awaitable,
  type DecidedBatch,
  type Group,
  GroupCommit,
  type GroupRow,
} from "./group-commit.js";
import { LostFilesError } from "../lost-files.js";
import { keyText, ReadSet } from "./row.js";

const MIB = 1 << 20;
const key = (requestId: string): RowKey => ({ table: "outcome", requestId });

/** A store in memory whose flushes wait until the test ends them. */
class TestStore {
  readonly rows = new Map<string, Row>();
  readonly groups: TestGroup[] = [];
  readonly failures: unknown[] = [];
  /** Batches that one group takes. */
  capacity = Infinity;
  beginError: Error | undefined;
  writesWhileApplying = false;
  /** Whether the files of the store were removed. */
  isLost = false;
  readonly commits: GroupCommit<TestGroup>;

  constructor(readonly isAsync: boolean) {
    this.commits = new GroupCommit(
      () => {
        if (this.beginError) throw this.beginError;
        const group = new TestGroup(this);
        this.groups.push(group);
        return group;
      },
      (cause) => this.failures.push(cause),
      () => {
        if (this.isLost) throw new LostFilesError("the file x was removed");
      },
    );
  }

  text(name: string): string | undefined {
    const row = this.rows.get(keyText(key(name)));
    return row && Buffer.from(row.value).toString();
  }

  /** Waits for the group with this number to reach its flush. */
  async group(index: number): Promise<TestGroup> {
    for (let count = 0; count < 1000; count += 1) {
      const group = this.groups[index];
      if (group?.isFlushing) return group;
      await new Promise(setImmediate);
    }
    throw new Error(`group ${String(index)} was never flushed`);
  }
}

interface TestRow extends GroupRow {
  readonly name: string;
  row: Row | undefined;
}

class TestGroup implements Group<TestRow> {
  isFlushing = false;
  isAborted = false;
  hasWritten = false;
  nextSequence: number;
  applyError: Error | undefined;
  readonly written: string[] = [];
  end: (error?: Error, repeated?: ReadonlySet<unknown>) => void = () => undefined;
  private readonly rows = new Map<string, TestRow>();
  private batches = 0;

  constructor(private readonly store: TestStore) {
    this.nextSequence = Math.max(0, ...[...store.rows.values()].map(({ sequence }) => sequence)) + 1;
  }

  read({ reads }: WriteBatch<unknown>): Awaitable<readonly TestRow[]> {
    return this.later(
      reads.handles.map((handle) => {
        const name = keyText(handle.key);
        const row = this.rows.get(name) ?? { name, row: this.store.rows.get(name) };
        this.rows.set(name, row);
        return row;
      }),
    );
  }

  prepare({ decision, rows, sequence }: DecidedBatch<TestRow>): Awaitable<Apply | undefined> {
    if (this.store.capacity === 0) throw writeFailed("DISK_FULL", "the test disk is full");
    if (this.batches === this.store.capacity) return this.later(undefined);
    return this.later(() => {
      this.hasWritten = this.store.writesWhileApplying;
      if (this.applyError) throw this.applyError;
      this.batches += 1;
      this.nextSequence = sequence + 1;
      for (const { handle, row } of decision.writes) {
        const target = rows[handle.index];
        if (!target) throw new RangeError("no such row");
        target.row = row;
        this.written.push(target.name);
      }
      return this.later(undefined);
    });
  }

  async flush(): Promise<ReadonlySet<unknown> | undefined> {
    this.isFlushing = true;
    this.hasWritten = true;
    const repeated = await new Promise<ReadonlySet<unknown> | undefined>((resolve, reject) => {
      this.end = (error, again) => {
        if (error === undefined) resolve(again);
        else reject(error);
      };
    });
    for (const name of this.written) {
      const row = this.rows.get(name)?.row;
      if (row) this.store.rows.set(name, row);
    }
    return repeated;
  }

  abort(): void {
    this.isAborted = true;
  }

  private later<T>(value: T): Awaitable<T> {
    return this.store.isAsync ? Promise.resolve(value) : value;
  }
}

/** Appends to the text of a row, and returns the text that it found. */
function append(name: string, text: string, bytes = 1): WriteBatch<string> {
  const reads = new ReadSet();
  const handle = reads.add(key(name));
  const decide: WriteBatch<string>["decide"] = (rows, sequence) => {
    const row = rows.get(handle);
    const before = row ? Buffer.from(row.value).toString() : "";
    const written = { sequence, checksum: 0, value: Buffer.from(before + text) };
    return { writes: [{ handle, row: written }], result: before, freesSpace: false };
  };
  return { reads, bytes, decide };
}

function refuse(name: string): WriteBatch<never> {
  const reads = new ReadSet();
  const handle = reads.add(key(name));
  const decide: WriteBatch<never>["decide"] = (rows) => {
    const row = rows.get(handle);
    throw writeFailed("RECEIPT_EXISTS", `found ${row ? Buffer.from(row.value).toString() : "nothing"}`);
  };
  return { reads, bytes: 1, decide };
}

/** Follows a promise without waiting for it. */
function follow<T>(promise: Promise<T>): { state: "pending" | "done" | "refused"; result?: T; error?: StoreError } {
  const followed: ReturnType<typeof follow<T>> = { state: "pending" };
  promise.then(
    (result) => Object.assign(followed, { state: "done", result }),
    (error: unknown) => Object.assign(followed, { state: "refused", error }),
  );
  return followed;
}

const settled = async (): Promise<void> => {
  for (let count = 0; count < 5; count += 1) await new Promise(setImmediate);
};

describe.each([
  ["a synchronous engine", false],
  ["an asynchronous engine", true],
])("group commit over %s", (_name, isAsync) => {
  let store: TestStore;
  beforeEach(() => {
    store = new TestStore(isAsync);
  });

  test("batches of one turn of the event loop share a group, each decided over what the earlier ones left", async () => {
    const calls = ["a", "b", "c"].map((text) => store.commits.commit(append("row", text)));
    (await store.group(0)).end();
    expect(await Promise.all(calls)).toEqual(["", "a", "ab"]);
    expect(store.text("row")).toBe("abc");
    expect(store.groups).toHaveLength(1);
  });

  test("results and refusals are delivered after the flush, and a refusal leaves the rest of its group alone", async () => {
    const first = follow(store.commits.commit(append("row", "a")));
    const refused = follow(store.commits.commit(refuse("row")));
    const last = follow(store.commits.commit(append("row", "b")));
    const group = await store.group(0);
    await settled();
    expect([first.state, refused.state, last.state]).toEqual(["pending", "pending", "pending"]);
    group.end();
    await settled();
    expect([first.result, refused.error?.message, last.result]).toEqual(["", expect.stringContaining("found a"), "a"]);
  });

  test("a group stops growing at 1 MiB of new values, and one batch alone may be larger", async () => {
    const calls = [0.6 * MIB, 0.3 * MIB, 0.3 * MIB, 5 * MIB, 1].map((bytes, index) =>
      store.commits.commit(append(`row ${String(index)}`, "a", bytes)),
    );
    for (const index of [0, 1, 2, 3]) (await store.group(index)).end();
    await Promise.all(calls);
    expect(store.groups.map(({ written }) => written.length)).toEqual([2, 1, 1, 1]);
  });

  test("after a failed flush its batches are unknown, later writes and reads are refused, and the owner is called once", async () => {
    const failed = [store.commits.commit(append("row", "a")), store.commits.commit(refuse("row"))].map(follow);
    const group = await store.group(0);
    const waiting = follow(store.commits.commit(append("row", "b")));
    store.commits.refuseReadsAfterFailure();
    const cause = new Error("the disk");
    group.end(cause);
    await settled();
    for (const { error } of failed)
      expect(error).toMatchObject({ reason: "OUTCOME_UNKNOWN", applied: "unknown", cause });
    expect(waiting.error).toMatchObject({ variant: "WriteFailed", reason: "SHUTTING_DOWN", applied: "no" });
    const later = follow(store.commits.commit(append("row", "c")));
    await settled();
    expect(later.error).toMatchObject({ variant: "WriteFailed", reason: "SHUTTING_DOWN" });
    const read = follow(
      Promise.resolve().then(() => {
        store.commits.refuseReadsAfterFailure();
      }),
    );
    await settled();
    expect(read.error).toMatchObject({ variant: "ReadFailed", reason: "SHUTTING_DOWN" });
    store.commits.stop(new Error("a reader that found it too"));
    expect(store.failures).toEqual([cause]);
    expect([group.isAborted, store.commits.hasFailed]).toEqual([true, true]);
    expect(store.groups).toHaveLength(1);
  });

  test("a batch is refused before anything is written when the files of the store were removed, and so are all later calls", async () => {
    store.isLost = true;
    const [refused, together] = ["a", "b"].map((text) => follow(store.commits.commit(append("row", text))));
    await settled();
    for (const call of [refused, together]) {
      expect(call?.error).toMatchObject({ variant: "WriteFailed", reason: "SHUTTING_DOWN", applied: "no" });
      expect(call?.error?.message).toContain("the file x was removed");
    }
    expect(store.groups).toEqual([]);
    expect(store.failures).toEqual([expect.any(LostFilesError)]);
    store.isLost = false;
    const later = follow(store.commits.commit(append("row", "c")));
    await settled();
    expect(later.error).toMatchObject({ reason: "SHUTTING_DOWN" });
    expect(() => {
      store.commits.refuseReadsAfterFailure();
    }).toThrow("the file x was removed");
  });

  test("a batch is not acknowledged when the files of the store were removed during its flush", async () => {
    const taken = [store.commits.commit(append("row", "a")), store.commits.commit(refuse("row"))].map(follow);
    const group = await store.group(0);
    const waiting = follow(store.commits.commit(append("row", "b")));
    store.isLost = true;
    group.end();
    await settled();
    for (const { error } of taken) {
      expect(error).toMatchObject({ reason: "OUTCOME_UNKNOWN", applied: "unknown" });
      expect(error?.message).toContain("the file x was removed");
    }
    expect(waiting.error).toMatchObject({ reason: "SHUTTING_DOWN", applied: "no" });
    expect([store.failures.length, store.commits.hasFailed, store.groups.length]).toEqual([1, true, 1]);
  });

  test("an error while a batch is applied ends its group, and the store continues when nothing was written", async () => {
    const cause = new TypeError("a defect");
    const calls = [append("row", "a"), append("row", "b")].map((batch) => follow(store.commits.commit(batch)));
    const begin = store.groups.push.bind(store.groups);
    jest.spyOn(store.groups, "push").mockImplementationOnce((group) => {
      group.applyError = cause;
      return begin(group);
    });
    const next = await store.group(1);
    expect(calls[0]?.error).toMatchObject({ variant: "Internal", reason: "INTERNAL", cause });
    expect([store.groups[0]?.isAborted, store.commits.hasFailed, store.failures]).toEqual([true, false, []]);
    next.end();
    await settled();
    expect([calls[1]?.result, store.text("row")]).toEqual(["", "b"]);
  });

  test("an error while a batch is written fails the whole group and stops the store", async () => {
    store.writesWhileApplying = true;
    const cause = new Error("the disk");
    const calls = [append("row", "a"), append("row", "b")].map((batch) => follow(store.commits.commit(batch)));
    const begin = store.groups.push.bind(store.groups);
    jest.spyOn(store.groups, "push").mockImplementation((group) => {
      group.applyError = cause;
      return begin(group);
    });
    await settled();
    expect(calls[0]?.error).toMatchObject({ reason: "OUTCOME_UNKNOWN", cause });
    expect(calls[1]?.error).toMatchObject({ reason: "SHUTTING_DOWN" });
    expect([store.groups[0]?.isAborted, store.failures]).toEqual([true, [cause]]);
  });

  test("a batch that does not fit into its group opens the next one, and is decided again there", async () => {
    store.capacity = 1;
    const calls = ["a", "b"].map((text) => store.commits.commit(append("row", text)));
    (await store.group(0)).end();
    (await store.group(1)).end();
    expect(await Promise.all(calls)).toEqual(["", "a"]);
    store.capacity = 0;
    const refused = follow(store.commits.commit(append("row", "c")));
    (await store.group(2)).end();
    await settled();
    expect(refused.error).toMatchObject({ reason: "DISK_FULL", applied: "no" });
    expect(store.text("row")).toBe("ab");
  });

  test("a batch whose rows another writer changed is decided again in the next group, before what waits", async () => {
    const batches = [append("mine", "a"), append("theirs", "b")];
    const calls = batches.map((batch) => follow(store.commits.commit(batch)));
    const group = await store.group(0);
    const waiting = follow(store.commits.commit(append("theirs", "c")));
    group.written.pop();
    store.rows.set(keyText(key("theirs")), { sequence: 9, checksum: 0, value: Buffer.from("other ") });
    group.end(undefined, new Set([batches[1]]));
    const next = await store.group(1);
    await settled();
    expect([calls[0]?.state, calls[1]?.state]).toEqual(["done", "pending"]);
    next.end();
    await settled();
    expect([calls[1]?.result, waiting.result]).toEqual(["other ", "other b"]);
    expect(store.text("theirs")).toBe("other bc");
  });

  test("a transaction that cannot begin refuses what waits, and later batches are taken again", async () => {
    store.beginError = writeFailed("BUSY", "another process writes");
    const refused = follow(store.commits.commit(append("row", "a")));
    await settled();
    expect(refused.error).toMatchObject({ reason: "BUSY" });
    store.beginError = undefined;
    const taken = store.commits.commit(append("row", "b"));
    (await store.group(0)).end();
    expect(await taken).toBe("");
    expect(store.failures).toEqual([]);
  });

  test("maintenance tasks share the groups of the batches, and close waits for both", async () => {
    const done: string[] = [];
    const batch = follow(store.commits.commit(append("row", "a")));
    const task = follow(
      store.commits.perform({
        bytes: 1,
        prepare: (group) => () => {
          done.push(`after ${String(group.written.length)}`);
        },
      }),
    );
    const closed = follow(store.commits.close());
    const group = await store.group(0);
    expect([batch.state, task.state, closed.state]).toEqual(["pending", "pending", "pending"]);
    group.end();
    await settled();
    expect([batch.state, task.state, closed.state]).toEqual(["done", "done", "done"]);
    expect(done).toEqual(["after 1"]);
  });
});
