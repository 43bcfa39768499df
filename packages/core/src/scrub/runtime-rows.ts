import type { Finding, RuntimeId } from "@bolthole/contract";
import { RuntimeAudit } from "../audit/runtime-audit.js";
import type { Engine, RowEntry, RowRange, Row, View } from "../engine.js";
import type { Pace } from "./pace.js";

/** In one look. An input row may have a megabyte. */
const SLICE_ROWS = 16;
/** Reading the form of a longer value would hold the event loop; its checksum tells of any damage to it. */
export const FORM_BYTES = 64 << 10;

/** How a slice of the rows gets its view: one of its own, or the same as all others. */
type Look = <T>(read: (view: View) => Promise<T>) => Promise<T>;

/**
 * Checks the rows of a runtime against each other and its head. What takes several looks is one state as long as the head
 * stays the same; where it does not, everything is read once more in one view, which lasts as long as that reading does.
 */
export async function scrubRows(engine: Engine, runtimeId: RuntimeId, pace: Pace): Promise<Finding[]> {
  const apart = await readRows(
    (read) => engine.view(read),
    runtimeId,
    pace,
    () => pace.rest(),
  );
  if (apart) return apart;
  const together = await engine.view((view) =>
    readRows(
      (read) => read(view),
      runtimeId,
      pace,
      () => Promise.resolve(),
    ),
  );
  await pace.rest();
  return together ?? [];
}

/** Nothing when the runtime changed between two looks. */
async function readRows(
  look: Look,
  runtimeId: RuntimeId,
  pace: Pace,
  rest: () => Promise<void>,
): Promise<Finding[] | undefined> {
  const audit = new RuntimeAudit(runtimeId, FORM_BYTES);
  const findings: (Finding | undefined)[] = [];
  let first: Slice | undefined;
  for (let from: SliceRange | undefined; ;) {
    const slice = await look((view) => readSlice(view, runtimeId, from));
    if (first && !isSame(first.head, slice.head)) return undefined;
    if (!first) {
      first = slice;
      // It was cleared after its name was read.
      if (!slice.head && slice.entries.length === 0) return [];
      if (slice.head) findings.push(audit.take({ table: "runtimeManifest", runtimeId }, slice.head));
    }
    for (const { key, row } of slice.entries) {
      findings.push(audit.take(key, row));
      await pace.spend(row.value.length);
    }
    await rest();
    if (!slice.next) break;
    from = slice.next;
  }
  return [...findings.filter((finding) => finding !== undefined), ...audit.end()];
}

type SliceRange = Extract<RowRange, { readonly table: "input" | "receipt" }>;

interface Slice {
  readonly head: Row | undefined;
  readonly entries: readonly RowEntry[];
  /** What comes after it. */
  readonly next?: SliceRange;
}

async function readSlice(view: View, runtimeId: RuntimeId, from: SliceRange | undefined): Promise<Slice> {
  const head = await view.get({ table: "runtimeManifest", runtimeId });
  const entries: RowEntry[] = [];
  if (!from) {
    for (const table of ["snapshot", "lifecycle", "ops"] as const) {
      const key = { table, runtimeId };
      const row = await view.get(key);
      if (row) entries.push({ key, row });
    }
  }
  if (from?.table !== "receipt") {
    const after = from?.after;
    const inputs = await view.scan({ table: "input", runtimeId, after }, SLICE_ROWS - entries.length);
    entries.push(...inputs);
    if (entries.length === SLICE_ROWS) {
      return { head, entries, next: { table: "input", runtimeId, after: inputs.at(-1)?.key } };
    }
  }
  const after = from?.table === "receipt" ? from.after : undefined;
  const receipts = await view.scan({ table: "receipt", runtimeId, after }, SLICE_ROWS - entries.length);
  entries.push(...receipts);
  if (entries.length < SLICE_ROWS) return { head, entries };
  return { head, entries, next: { table: "receipt", runtimeId, after: receipts.at(-1)?.key } };
}

/** Every change of a counted row writes its runtime's head. */
const isSame = (one: Row | undefined, other: Row | undefined): boolean =>
  one?.sequence === other?.sequence && one?.checksum === other?.checksum;
