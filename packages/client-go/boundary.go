package bolthole

import (
	"context"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// A Boundary is what AtomicApply applies, completely or not at all.
type Boundary struct {
	// Document is the new session snapshot. Nil: the stored one stays as it is, and SessionStoreKey is ignored.
	Document *Document
	// Receipt is required. Its key is the runtime id, the run id and the sequence.
	Receipt *pb.RunBoundaryReceipt
	// Inputs are the input rows. Pass all rows of the runtime: only the changed ones are sent. When two rows have the same id, the last
	// one wins. Rows that one request cannot carry are uploaded.
	Inputs []*pb.StoredInputState
	// SessionStoreKey is the session id that the document must have. Empty: not compared.
	SessionStoreKey string
}

// CommittedInputs is the result of a mutation with input rows.
type CommittedInputs struct {
	Committed
	// Kept are the rows that were not written, because they equal the stored ones, with the versions that they keep.
	Kept []*pb.KeptInput
	// Inputs has the version of all input rows of the runtime before and after the call. Nil only in a replayed response whose outcome
	// was stored by version 0.1.
	Inputs *pb.InputsVersions
}

// AtomicApply applies the boundary of a run: the session snapshot, if there is one, under the boundary guard (docs/sessions.md), the
// receipt, and the input rows. It fails with ErrReceiptExists when a receipt with the same key is stored, even an identical one; with
// ErrSessionKeyMismatch; and with ErrTranscriptRejected when the guard refuses the document.
func (s *Store) AtomicApply(ctx context.Context, runtimeID string, boundary Boundary, opts ...CallOption) (CommittedInputs, error) {
	call, err := s.call(opts)
	if err != nil {
		return CommittedInputs{}, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	var response *pb.AtomicApplyResponse
	var kept []*pb.KeptInput
	apply := func(delta *pb.SessionDelta) (Version, error) {
		var err error
		kept, err = s.sendInputs(ctx, inputCall{
			runtimeID: runtimeID, requestID: call.requestID, rows: boundary.Inputs, field: "input_updates",
			commit: func(sent sentRows) (committedRows, error) {
				request := &pb.AtomicApplyRequest{
					RuntimeId: &runtimeID, SessionDelta: delta, Receipt: boundary.Receipt, InputUpdates: sent.rows,
					InputUploadId: sent.uploadID, UnchangedInputs: sent.unchanged,
				}
				if boundary.SessionStoreKey != "" {
					request.SessionStoreKey = &boundary.SessionStoreKey
				}
				var err error
				response, err = mutate(ctx, s.client, call.under(sent.requestID), "AtomicApply", request, s.conn.rpc.AtomicApply)
				return response, err
			},
		})
		return Version(response.GetVersion()), err
	}
	if boundary.Document == nil {
		_, err = apply(nil)
	} else {
		err = s.sendSession(ctx, runtimeID, call, boundary.Document, apply)
	}
	if err != nil {
		return CommittedInputs{}, err
	}
	done := Committed{Version(response.GetVersion()), response.GetReplayed()}
	return CommittedInputs{Committed: done, Kept: kept, Inputs: response.GetInputs()}, nil
}

// under returns the options with another request id, unless it is empty.
func (o callOptions) under(requestID string) callOptions {
	if requestID != "" {
		o.requestID = requestID
	}
	return o
}

// LoadBoundaryReceipt returns the receipt of a run with this sequence, or nil when none is stored.
func (s *Store) LoadBoundaryReceipt(
	ctx context.Context, runtimeID, runID string, sequence uint64,
) (*Loaded[*pb.RunBoundaryReceipt], error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.LoadBoundaryReceiptRequest{RuntimeId: &runtimeID, RunId: runID, Sequence: sequence}
	response, err := unary(ctx, s.conn, "LoadBoundaryReceipt", "", request, s.conn.rpc.LoadBoundaryReceipt)
	if err != nil || response.GetReceipt() == nil {
		return nil, err
	}
	return loaded(response.GetReceipt(), response.GetVersion()), nil
}
