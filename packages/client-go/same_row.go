package bolthole

import (
	"bytes"

	"google.golang.org/protobuf/proto"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// isSameRow says whether two rows are stored in the same form. All rows of a runtime are compared at every boundary, so each field is
// named: a generic comparison takes several times as long. A test changes each field of the message and expects false.
func isSameRow(one, other *pb.StoredInputState) bool {
	return one.UpdatedAt == other.UpdatedAt &&
		one.AttemptCount == other.AttemptCount &&
		one.CurrentState == other.CurrentState &&
		one.InputId == other.InputId &&
		one.Durability == other.Durability &&
		isSame(one.IdempotencyKey, other.IdempotencyKey) &&
		one.RecoveryCount == other.RecoveryCount &&
		isSame(one.LastRunId, other.LastRunId) &&
		isSame(one.LastBoundarySequence, other.LastBoundarySequence) &&
		isSame(one.AdmissionSequence, other.AdmissionSequence) &&
		one.RecoveryLane == other.RecoveryLane &&
		one.CreatedAt == other.CreatedAt &&
		isSame(one.PersistedInputJson, other.PersistedInputJson) &&
		isSame(one.StateJson, other.StateJson) &&
		isSameHistory(one.History, other.History) &&
		isSameMessage(one.TerminalOutcome, other.TerminalOutcome) &&
		isSameMessage(one.Policy, other.Policy) &&
		isSameMessage(one.RuntimeSemantics, other.RuntimeSemantics) &&
		isSameMessage(one.ReconstructionSource, other.ReconstructionSource) &&
		bytes.Equal(one.ProtoReflect().GetUnknown(), other.ProtoReflect().GetUnknown())
}

func isSame[T comparable](one, other *T) bool {
	if one == nil || other == nil {
		return one == other
	}
	return *one == *other
}

// isSameMessage is given pointers to messages, which may be nil.
func isSameMessage[M interface {
	comparable
	proto.Message
}](one, other M) bool {
	var none M
	if one == none || other == none {
		return one == other
	}
	return proto.Equal(one, other)
}

func isSameHistory(one, other []*pb.InputHistoryEntry) bool {
	if len(one) != len(other) {
		return false
	}
	for i, entry := range one {
		to := other[i]
		if entry.GetTimestamp() != to.GetTimestamp() || entry.GetFromState() != to.GetFromState() ||
			entry.GetToState() != to.GetToState() || !isSame(entry.Reason, to.Reason) ||
			!bytes.Equal(entry.ProtoReflect().GetUnknown(), to.ProtoReflect().GetUnknown()) {
			return false
		}
	}
	return true
}
