import type { MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../gen/bolthole/v1/operations_pb.js";
import * as model from "@bolthole/json/model";
import { enumCodec } from "./enum-codec.js";
import { InvalidArgumentError, requireField } from "./invalid-argument.js";

const status = enumCodec(pb.OperationStatusSchema, model.OPERATION_STATUSES);
const kind = enumCodec(pb.OperationKindSchema, model.OPERATION_KINDS);
const transport = enumCodec(pb.PeerTransportSchema, model.PEER_TRANSPORTS);

export function toOpsSnapshot(message: pb.PersistedOpsSnapshot, field: string): model.PersistedOpsSnapshot {
  const authority = requireField(message.authorityState, `${field}.authority_state`);
  const cursors = requireField(message.cursors, `${field}.cursors`);
  return {
    epochId: message.epochId,
    authorityState: {
      operations: mapValues(authority.operations, (state, id) =>
        toState(state, `${field}.authority_state.operations[${id}]`),
      ),
      completionFeedEntries: mapValues(authority.completionFeedEntries, (entry, id) => {
        const inside = `${field}.authority_state.completion_feed_entries[${id}]`;
        return {
          seq: entry.seq,
          kind: kind.toModel(entry.kind, `${inside}.kind`),
          terminalOutcome: toOutcome(entry.terminalOutcome, `${inside}.terminal_outcome`),
        };
      }),
      completedOrder: authority.completedOrder,
      maxCompleted: authority.maxCompleted,
      maxConcurrent: authority.maxConcurrent,
      activeCount: authority.activeCount,
      waitRequestId: authority.waitRequestId,
      waitOperationIds: authority.waitOperationIds,
      nextCompletionSeq: authority.nextCompletionSeq,
    },
    operationSpecs: mapValues(message.operationSpecs, (spec, id) => toSpec(spec, `${field}.operation_specs[${id}]`)),
    completionEntries: message.completionEntries.map((entry, index) => {
      const inside = `${field}.completion_entries[${String(index)}]`;
      return {
        seq: entry.seq,
        operationId: entry.operationId,
        kind: kind.toModel(entry.kind, `${inside}.kind`),
        displayName: entry.displayName,
        terminalOutcome: toOutcome(entry.terminalOutcome, `${inside}.terminal_outcome`),
        completedAtMs: entry.completedAtMs,
      };
    }),
    cursors: {
      agentAppliedCursor: cursors.agentAppliedCursor,
      runtimeObservedSeq: cursors.runtimeObservedSeq,
      runtimeLastInjectedSeq: cursors.runtimeLastInjectedSeq,
    },
  };
}

export function fromOpsSnapshot(
  snapshot: model.PersistedOpsSnapshot,
): MessageInitShape<typeof pb.PersistedOpsSnapshotSchema> {
  const authority = snapshot.authorityState;
  return {
    epochId: snapshot.epochId,
    authorityState: {
      ...authority,
      operations: mapValues(authority.operations, (state, id) => fromState(state, `operations[${id}]`)),
      completionFeedEntries: mapValues(authority.completionFeedEntries, (entry, id) => ({
        seq: entry.seq,
        kind: kind.toWire(entry.kind, `completion_feed_entries[${id}].kind`),
        terminalOutcome: fromOutcome(entry.terminalOutcome),
      })),
      completedOrder: [...authority.completedOrder],
      waitOperationIds: [...authority.waitOperationIds],
    },
    operationSpecs: mapValues(snapshot.operationSpecs, (spec, id) => ({
      ...spec,
      kind: kind.toWire(spec.kind, `operation_specs[${id}].kind`),
      operationSource: spec.operationSource && fromSource(spec.operationSource),
    })),
    completionEntries: snapshot.completionEntries.map((entry, index) => ({
      ...entry,
      kind: kind.toWire(entry.kind, `completion_entries[${String(index)}].kind`),
      terminalOutcome: fromOutcome(entry.terminalOutcome),
    })),
    cursors: { ...snapshot.cursors },
  };
}

function mapValues<A, B>(
  record: Readonly<Record<string, A>>,
  convert: (value: A, key: string) => B,
): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, convert(value, key)]));
}

function toState(message: pb.OperationState, field: string): model.OperationState {
  return {
    status: status.toModel(message.status, `${field}.status`),
    kind: kind.toModel(message.kind, `${field}.kind`),
    operationSource: message.operationSource && toSource(message.operationSource, `${field}.operation_source`),
    peerReady: message.peerReady,
    progressCount: message.progressCount,
    watcherCount: message.watcherCount,
    terminalOutcome: message.terminalOutcome && toOutcome(message.terminalOutcome, `${field}.terminal_outcome`),
    completionSequence: message.completionSequence,
    terminalBuffered: message.terminalBuffered,
  };
}

function fromState(state: model.OperationState, field: string): MessageInitShape<typeof pb.OperationStateSchema> {
  return {
    ...state,
    status: status.toWire(state.status, `${field}.status`),
    kind: kind.toWire(state.kind, `${field}.kind`),
    operationSource: state.operationSource && fromSource(state.operationSource),
    terminalOutcome: state.terminalOutcome && fromOutcome(state.terminalOutcome),
  };
}

function toSpec(message: pb.OperationSpec, field: string): model.OperationSpec {
  return {
    id: message.id,
    kind: kind.toModel(message.kind, `${field}.kind`),
    ownerSessionId: message.ownerSessionId,
    displayName: message.displayName,
    sourceLabel: message.sourceLabel,
    operationSource: message.operationSource && toSource(message.operationSource, `${field}.operation_source`),
    childSessionId: message.childSessionId,
    expectPeerChannel: message.expectPeerChannel,
  };
}

function toSource({ source }: pb.OperationSource, field: string): model.OperationSource {
  switch (source.case) {
    case "sessionChild":
      return { kind: "session_child", sessionId: source.value.sessionId };
    case "backendPeer": {
      const address = requireField(source.value.address, `${field}.backend_peer.address`);
      return {
        kind: "backend_peer",
        peerId: source.value.peerId,
        address: {
          transport: transport.toModel(address.transport, `${field}.backend_peer.address.transport`),
          endpoint: address.endpoint,
        },
      };
    }
    case undefined:
      throw new InvalidArgumentError(field, "a source", "none");
  }
}

function fromSource(source: model.OperationSource): MessageInitShape<typeof pb.OperationSourceSchema> {
  switch (source.kind) {
    case "session_child":
      return { source: { case: "sessionChild", value: { sessionId: source.sessionId } } };
    case "backend_peer":
      return {
        source: {
          case: "backendPeer",
          value: {
            peerId: source.peerId,
            address: {
              transport: transport.toWire(source.address.transport, "transport"),
              endpoint: source.address.endpoint,
            },
          },
        },
      };
  }
}

function toOutcome(message: pb.OperationTerminalOutcome | undefined, field: string): model.OperationTerminalOutcome {
  const { outcome } = requireField(message, field);
  switch (outcome.case) {
    case "completed": {
      const { id, content, isError, durationMs, tokensUsed } = outcome.value;
      return { kind: "completed", id, content, isError, durationMs, tokensUsed };
    }
    case "failed":
      return { kind: "failed", error: outcome.value.error };
    case "aborted":
    case "cancelled":
      return { kind: outcome.case, reason: outcome.value.reason };
    case "retired":
      return { kind: "retired" };
    case "terminated":
      return { kind: "terminated", reason: outcome.value.reason };
    case undefined:
      throw new InvalidArgumentError(field, "an outcome", "none");
  }
}

function fromOutcome(
  outcome: model.OperationTerminalOutcome,
): MessageInitShape<typeof pb.OperationTerminalOutcomeSchema> {
  const { kind: name, ...value } = outcome;
  return { outcome: { case: name, value } } as MessageInitShape<typeof pb.OperationTerminalOutcomeSchema>;
}
