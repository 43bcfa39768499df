import type { InputId, UnchangedInputs, VersionedStore } from "@bolthole/contract";
import { readFailed } from "@bolthole/contract";
import type { RowEdit } from "../commit/committer.js";
import { type Argument, argumentsOf } from "../commit/fingerprint.js";
import { ReadSet } from "../commit/row.js";
import { type InputRows, singleInputRow } from "../input-rows/checked-rows.js";
import { inputStateOf, loadInputs } from "../input-rows/input-load.js";
import { type StoreContext, versionOf } from "../store-context.js";
import { checkRuntimeId, parseUuid } from "../validate.js";

type InputOperations = Pick<VersionedStore, "persistInputState" | "loadInputState" | "loadInputStates">;

export const inputOperations = (context: StoreContext): InputOperations => ({
  async persistInputState(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const row = singleInputRow({ ...context, runtimeId }, request.state, "state");
    const inputs = row instanceof Promise ? await context.committer.pendingDuring(request, () => row) : row;
    const reads = new ReadSet();
    const edits = replaceInputs(inputs, reads);
    return context.committer.commit({
      method: "PersistInputState",
      request,
      args: { state: inputArguments(inputs) },
      inputIds: inputIdsOf(inputs),
      reads,
      bytes: inputs.bytes,
      decide: () => edits,
    });
  },

  async loadInputState(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits, readFailed);
    const inputId = parseUuid(request.inputId, "input_id", readFailed);
    const key = { table: "input", runtimeId, inputId } as const;
    const row = await context.engine.view((view) => view.get(key));
    return row && { value: await inputStateOf(context, { key, row }), version: versionOf(context, row) };
  },

  async loadInputStates({ runtimeId, eachOutcome = false }) {
    return loadInputs(context, checkRuntimeId(runtimeId, context.limits, readFailed), eachOutcome);
  },
});

/** Replaces each row, whatever is stored: any phase may overwrite any other (contract 5.4). */
export const replaceInputs = ({ rows }: InputRows, reads: ReadSet): RowEdit[] =>
  rows.map(({ key, value }) => ({ handle: reads.add(key), value }));

export const inputIdsOf = ({ rows }: InputRows): InputId[] => rows.map(({ key }) => key.inputId);

export const inputArguments = ({ rows }: InputRows): Argument[] => rows.map(({ value }) => value);

export const unchangedArguments = (unchanged: UnchangedInputs | undefined): Argument[] =>
  argumentsOf<UnchangedInputs>({ inputsVersion: unchanged?.inputsVersion });
