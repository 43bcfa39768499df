import type { StoredInputState } from "@bolthole/contract";
import { writeOpsSnapshot } from "@bolthole/json";
import type { Operation, RuntimeState } from "../load/operation.js";
import { makeOperation } from "../load/operations.js";
import { boundaryReceipt, inputRow, opsSnapshot } from "../load/records.js";
import { sendUploaded } from "../load/uploaded-rows.js";
import type { Random } from "../random.js";
import { chooseShape } from "./document-shape.js";
import type { Disguise } from "./observed-store.js";
import { oddStep } from "./odd-steps.js";
import { type Applied, type Step, type StepContext, writeStep } from "./step.js";

/** How many steps a repeat chooses from. */
const RECENT = 60;
const REPEAT = "repeat of ";
const ROWS_OF_A_CALL = 5;
const MOST_OPERATIONS = 600;

/** How often another operation is made until one stores a session. */
const TURN_ATTEMPTS = 8;

const WEIGHTS = {
  operation: 40,
  turn: 35,
  repeat: 8,
  reused: 2,
  status: 6,
  opsJson: 8,
  sameRows: 5,
  oauth: 5,
  odd: 10,
};

/** Makes steps that change something: plausible ones, and some that must be refused. */
export class WriteSteps {
  private recent: Step[] = [];
  private oauthVersion: string | undefined;

  constructor(private readonly context: StepContext) {}

  next(): Promise<Step> {
    const { random, ids } = this.context;
    ids.changeCaller();
    const kind = random.weighted(WEIGHTS);
    if (kind === "odd") return oddStep(this.context);
    if (kind === "operation") return this.operation(makeOperation);
    return kind === "turn" ? this.operation(makeTurn) : this[kind]();
  }

  /** Notes a step that may be repeated later, whether it was applied or refused. */
  noteRepeatable(step: Step): void {
    if (step.touched.requestIds.length !== 1 || step.name.startsWith(REPEAT)) return;
    this.recent.push(step);
    if (this.recent.length > RECENT) this.recent.shift();
  }

  /** Returns the id of an earlier request whose outcome may be kept. */
  recentRequestId(): string | undefined {
    return this.recent[this.context.random.below(this.recent.length)]?.touched.requestIds[0];
  }

  private async operation(make = makeOperation, state = this.context.runtimes.pick()): Promise<Step> {
    const { random, runtimes } = this.context;
    const operation = make(random, state);
    const shape = chooseShape(random, runtimes.sessions.get(state.runtimeId));
    const members = await this.members(state);
    return this.stepOf(operation, state, members ? { shape, members } : { shape });
  }

  /** Sometimes claims that all other input rows are unchanged, or names the store. */
  private async members(state: RuntimeState): Promise<Disguise["members"]> {
    const { random, runtimes, reference } = this.context;
    const { runtimeId } = state;
    if (random.oneIn(40)) return { expectedStoreId: "00000000-0000-4000-8000-000000000000" };
    if (!random.oneIn(6)) return undefined;
    const old = runtimes.oldInputsVersions.get(runtimeId);
    const { inputsVersion } = await reference().loadInputStates({ runtimeId, eachOutcome: true });
    runtimes.oldInputsVersions.set(runtimeId, inputsVersion);
    return { unchangedInputs: { inputsVersion: old !== undefined && random.oneIn(4) ? old : inputsVersion } };
  }

  private stepOf(operation: Operation, { runtimeId }: RuntimeState, disguise: Disguise): Step {
    const { runtimes } = this.context;
    return writeStep(
      operation.method,
      { runtimeIds: [runtimeId], requestIds: [operation.id] },
      ({ facade }) => operation.send(facade, {}),
      {
        disguise,
        applied: (version, document) => {
          operation.adopt(version);
          for (const [key, digest] of operation.effects) {
            if (key === "snapshot") {
              runtimes.noteSession(runtimeId, document && digest !== null ? { version, bytes: document } : undefined);
            }
            // A typed value becomes other bytes than those that are known here.
            if (key === "ops") runtimes.noteOps(runtimeId, undefined);
          }
          if (operation.method === "DeleteRuntime") runtimes.forget(runtimeId);
          return Promise.resolve();
        },
      },
    );
  }

  /** Repeats an earlier request, perhaps with its document in another form. */
  private async repeat(): Promise<Step> {
    const { random, runtimes } = this.context;
    const step = this.recent[random.below(this.recent.length)];
    if (!step) return this.operation();
    const [runtimeId = ""] = step.touched.runtimeIds;
    const shape = random.oneIn(3) ? chooseShape(random, runtimes.sessions.get(runtimeId)) : step.disguise.shape;
    return { ...step, name: `${REPEAT}${step.name}`, disguise: { ...step.disguise, shape } };
  }

  /** Uses the request id of an earlier request for another one. */
  private reused(): Promise<Step> {
    const { random, ids } = this.context;
    const [requestId] = this.recent[random.below(this.recent.length)]?.touched.requestIds ?? [];
    if (requestId !== undefined) ids.force(requestId);
    return this.operation();
  }

  /** Asks for the outcome of a request, and perhaps seals its id. */
  private status(): Promise<Step> {
    const { random, ids } = this.context;
    const [known] = this.recent[random.below(this.recent.length)]?.touched.requestIds ?? [];
    const requestId = known !== undefined && random.below(3) > 0 ? known : ids.next();
    const seal = random.oneIn(2);
    const name = seal ? "GetCommit with seal" : "GetCommit";
    return Promise.resolve(
      writeStep(name, { requestIds: [requestId] }, async ({ facade }) => {
        await facade.getCommit({ requestId, seal });
        return undefined;
      }),
    );
  }

  /** Stores an operation snapshot as JSON: whole, as a patch, or as an upload. */
  private opsJson(): Promise<Step> {
    const { random, ids, runtimes } = this.context;
    const state = runtimes.pick();
    const { runtimeId } = state;
    const requestId = ids.next();
    const base = runtimes.ops.get(runtimeId);
    const bytes = this.opsBytes(base?.bytes, requestId);
    return Promise.resolve(
      writeStep(
        "PersistOpsLifecycle as JSON",
        { runtimeIds: [runtimeId], requestIds: [requestId] },
        ({ facade }) => facade.persistOpsLifecycle({ runtimeId, requestId, opsDelta: { opsSnapshot: bytes } }),
        {
          disguise: { shape: chooseShape(random, base) },
          applied: (version, document) => {
            state.noteVersion("ops", version);
            runtimes.noteOps(runtimeId, { version, bytes: document ?? bytes });
            return Promise.resolve();
          },
        },
      ),
    );
  }

  private opsBytes(stored: Buffer | undefined, nonce: string): Buffer {
    const { random, ids } = this.context;
    if (random.oneIn(20)) return Buffer.from("{");
    if (stored && random.below(3) > 0) {
      // One field of one operation changes, as it does while tools run.
      const text = stored.toString().replace(/"display_name":"[^"]*"/, `"display_name":"${nonce}"`);
      return Buffer.from(text.replace(/"progress_count":\d+/, `"progress_count":${random.below(1000)}`));
    }
    return writeOpsSnapshot(
      opsSnapshot(random, nonce, { newId: ids.next, most: random.oneIn(3) ? MOST_OPERATIONS : 12 }),
    );
  }

  /** Commits rows of which some equal the stored ones: in a call, in a boundary, or as an upload. */
  private async sameRows(): Promise<Step> {
    const { random, ids, runtimes, reference } = this.context;
    const state = runtimes.pick();
    const { runtimeId } = state;
    const requestId = ids.next();
    const rows = await this.someRows(state);
    const [row] = rows;
    if (!row) return this.operation(makeOperation, state);
    const way = random.weighted({ single: 2, boundary: 3, uploaded: 3 });
    const receipt = boundaryReceipt(ids.next(), 1n, [row.inputId], 0, requestId);
    const boundary = { runtimeId, requestId, receipt, sessionDelta: undefined, sessionStoreKey: undefined };
    return writeStep(
      `equal rows: ${way}`,
      { runtimeIds: [runtimeId], requestIds: [requestId] },
      ({ facade }) => {
        if (way === "single") return facade.persistInputState({ runtimeId, requestId, state: row });
        if (way === "boundary") return facade.atomicApply({ ...boundary, inputUpdates: rows });
        return sendUploaded(facade, runtimeId, rows, {}, (inputUploadId) =>
          facade.atomicApply({ ...boundary, inputUpdates: [], inputUploadId }),
        );
      },
      { applied: () => runtimes.refreshInputs(state, reference()) },
    );
  }

  /** Returns some stored rows, of which about half are changed. */
  private async someRows({ runtimeId }: RuntimeState): Promise<StoredInputState[]> {
    const { random, ids, reference } = this.context;
    const stored: StoredInputState[] = [];
    for await (const batch of (await reference().loadInputStates({ runtimeId })).batches) {
      for (const { value } of batch) if (random.oneIn(2)) stored.push(value);
    }
    const isSame = random.oneIn(3);
    return stored
      .slice(0, ROWS_OF_A_CALL)
      .map((row) => (isSame || random.oneIn(2) ? row : inputRow(random, row.inputId, ids.next())));
  }

  /** Writes the OAuth value, or compares and sets it with a version that is right or wrong. */
  private oauth(): Promise<Step> {
    const { random, ids } = this.context;
    const requestId = ids.next();
    const snapshot = Buffer.from(JSON.stringify({ requestId, text: "x".repeat(random.below(300)) }));
    const way = random.weighted({ persist: 1, update: 3, wrong: 1 });
    const expected = way === "wrong" ? "gone.4" : this.oauthVersion;
    return Promise.resolve(
      writeStep(
        `OAuth: ${way}`,
        { requestIds: [requestId], oauth: true },
        async ({ facade }): Promise<Applied | undefined> => {
          if (way === "persist") return facade.persistAuthOauthFlowSnapshot({ requestId, snapshot });
          const response = await facade.updateAuthOauthFlowSnapshot({ requestId, expected, snapshot });
          return response.updated ? response : undefined;
        },
        {
          applied: (version) => {
            this.oauthVersion = version;
            return Promise.resolve();
          },
        },
      ),
    );
  }
}

/** Makes an operation that stores a session, if the runtime may have one. */
function makeTurn(random: Random, state: RuntimeState): Operation {
  let operation = makeOperation(random, state);
  const isTurn = (): boolean => operation.effects.some(([key, digest]) => key === "snapshot" && digest !== null);
  for (let attempt = 1; attempt < TURN_ATTEMPTS && !isTurn(); attempt += 1) operation = makeOperation(random, state);
  return operation;
}
