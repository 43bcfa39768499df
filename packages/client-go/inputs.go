package bolthole

import (
	"context"
	"errors"
	"io"
	"iter"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// InputStates are the input rows of a runtime, all of one state.
type InputStates struct {
	// Rows are in ascending order of their ids.
	Rows []*pb.StoredInputState
	// Versions has for each row its version.
	Versions []Version
	// Version is the version of all rows together. It changes with every write of a row. Empty when SalvageInputStates cannot read it.
	Version Version
	// Failures are the errors of the rows that cannot be read. Only with SalvageInputStates.
	Failures []*Error
}

// PersistInputState writes one input row under its id. A row that equals the stored one is not written again and keeps its version. It
// fails with ErrRecordRejected when the row contradicts itself, and with ErrTooLarge above the limit of a row.
func (s *Store) PersistInputState(
	ctx context.Context, runtimeID string, state *pb.StoredInputState, opts ...CallOption,
) (CommittedInputs, error) {
	call, err := s.call(opts)
	if err == nil && state == nil {
		// Without a row, the store would expect an upload.
		err = invalidArgument(true, "state", "a row", "nil")
	}
	if err != nil {
		return CommittedInputs{}, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	rows := []*pb.StoredInputState{state}
	out := s.deltas.rows.splitBy(rows, nil, "")
	var response *pb.PersistInputStateResponse
	commit := func(uploadID, requestID string) error {
		request := &pb.PersistInputStateRequest{RuntimeId: &runtimeID, State: state}
		if uploadID != "" {
			request.State, request.InputUploadId = nil, &uploadID
		}
		var err error
		response, err = mutate(ctx, s.client, call.under(requestID), "PersistInputState", request, s.conn.rpc.PersistInputState)
		return err
	}
	if s.deltas.singleRowLimits.needUpload(rows) {
		err = s.commitUploaded(ctx, uploadedChange{
			runtimeID: runtimeID, requestID: call.requestID, rows: rows, field: "state", limits: s.deltas.rowLimits,
			fieldOf: func(int) string { return "state" }, commit: commit,
		})
	} else {
		err = commit("", "")
	}
	if err != nil {
		return CommittedInputs{}, err
	}
	version := Version(response.GetVersion())
	s.deltas.rows.update(runtimeID, response.GetInputs(), out, func(string) Version { return version })
	return CommittedInputs{Committed: Committed{version, response.GetReplayed()}, Inputs: response.GetInputs()}, nil
}

// LoadInputState returns one input row, or nil when none is stored under this id.
func (s *Store) LoadInputState(ctx context.Context, runtimeID, inputID string) (*Loaded[*pb.StoredInputState], error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.LoadInputStateRequest{RuntimeId: &runtimeID, InputId: inputID}
	response, err := unary(ctx, s.conn, "LoadInputState", "", request, s.conn.rpc.LoadInputState)
	if err != nil || response.GetState() == nil {
		return nil, err
	}
	return loaded(response.GetState(), response.GetVersion()), nil
}

// maxLoads is the largest number of attempts of one load of all input rows.
const maxLoads = 8

// LoadInputStates returns all input rows of a runtime, of one state. It fails with ErrDamagedRecord, which names the row, when one of
// them cannot be read. It loads again when rows were written meanwhile.
func (s *Store) LoadInputStates(ctx context.Context, runtimeID string) (*InputStates, error) {
	return s.loadInputStates(ctx, runtimeID, false)
}

// SalvageInputStates returns the input rows of a runtime that can be read, and an error for each other one.
func (s *Store) SalvageInputStates(ctx context.Context, runtimeID string) (*InputStates, error) {
	return s.loadInputStates(ctx, runtimeID, true)
}

func (s *Store) loadInputStates(ctx context.Context, runtimeID string, eachOutcome bool) (*InputStates, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	for attempt := 1; ; attempt++ {
		found, err := s.loadInputStatesOnce(ctx, runtimeID, eachOutcome)
		// The store could not show one state to the end: rows were written meanwhile.
		if err == nil || !isReason(err, ErrBusy) || attempt == maxLoads || ctx.Err() != nil {
			return found, err
		}
	}
}

func (s *Store) loadInputStatesOnce(ctx context.Context, runtimeID string, eachOutcome bool) (*InputStates, error) {
	before := s.deltas.rows.version(runtimeID)
	all := &InputStates{}
	copies := rowsOf(nil)
	for message, err := range s.inputMessages(ctx, runtimeID, eachOutcome) {
		if err != nil {
			return nil, err
		}
		if version := Version(message.GetInputsVersion()); version != "" {
			all.Version = version
		}
		for _, failure := range message.GetFailures() {
			all.Failures = append(all.Failures, failureOf(failure))
		}
		for _, entry := range message.GetEntries() {
			all.Rows = append(all.Rows, entry.GetState())
			all.Versions = append(all.Versions, Version(entry.GetVersion()))
		}
	}
	if s.deltas.rows.maxBytes == 0 || all.Version == "" || all.Version == before {
		return all, nil
	}
	for i, row := range all.Rows {
		if copies.bytes < s.deltas.rows.maxBytes {
			copies.put(copyRow(row, all.Versions[i]))
		}
	}
	if copies.bytes < s.deltas.rows.maxBytes {
		s.deltas.rows.putLoaded(runtimeID, before, all.Version, copies)
	}
	return all, nil
}

func failureOf(failure *pb.RecordFailure) *Error {
	if detail := failure.GetDetail(); detail != nil {
		if e := detailError(detail, failure.GetMessage()); e != nil {
			return e
		}
	}
	return failed(false, ErrDamagedRecord, failure.GetMessage())
}

// InputStates yields the input rows of a runtime as they arrive, in ascending order of their ids, with their versions. An error is the
// last value: ErrBusy means that rows were written meanwhile, and what was yielded must be discarded. The rows are not cached: before a
// boundary use LoadInputStates.
func (s *Store) InputStates(ctx context.Context, runtimeID string) iter.Seq2[*Loaded[*pb.StoredInputState], error] {
	return func(yield func(*Loaded[*pb.StoredInputState], error) bool) {
		ctx, stop := s.conn.withDeadline(ctx)
		defer stop()
		for message, err := range s.inputMessages(ctx, runtimeID, false) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, entry := range message.GetEntries() {
				if !yield(loaded(entry.GetState(), entry.GetVersion()), nil) {
					return
				}
			}
		}
	}
}

func (s *Store) inputMessages(
	ctx context.Context, runtimeID string, eachOutcome bool,
) iter.Seq2[*pb.LoadInputStatesResponse, error] {
	return func(yield func(*pb.LoadInputStatesResponse, error) bool) {
		request := &pb.LoadInputStatesRequest{RuntimeId: &runtimeID, EachOutcome: eachOutcome}
		stream, err := openStream(ctx, s.conn, "LoadInputStates", request, s.conn.rpc.LoadInputStates)
		if err != nil {
			yield(nil, err)
			return
		}
		defer stream.close()
		for {
			message, err := stream.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(message, err) || err != nil {
				return
			}
		}
	}
}
