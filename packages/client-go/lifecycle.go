package bolthole

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// lifecycleVersion is the only version of a lifecycle record that can be written.
const lifecycleVersion = 1

// CommitMachineLifecycle replaces the lifecycle record of a runtime unconditionally, together with input rows, completely or not at all.
// Pass all input rows of the runtime, or none: only the changed ones are sent. A record with RecordVersion 0 gets version 1. Fields of
// the record that this version of the client does not know are kept.
func (s *Store) CommitMachineLifecycle(
	ctx context.Context, runtimeID string, record *pb.MachineLifecycleRecord, inputs []*pb.StoredInputState, opts ...CallOption,
) (CommittedInputs, error) {
	call, err := s.call(opts)
	if err == nil && record == nil {
		err = invalidArgument(true, "record", "a lifecycle record", "nil")
	}
	if err != nil {
		return CommittedInputs{}, err
	}
	if record.GetRecordVersion() == 0 {
		record = proto.Clone(record).(*pb.MachineLifecycleRecord)
		record.RecordVersion = lifecycleVersion
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	var response *pb.CommitMachineLifecycleResponse
	kept, err := s.sendInputs(ctx, inputCall{
		runtimeID: runtimeID, requestID: call.requestID, rows: inputs, field: "input_states",
		commit: func(sent sentRows) (committedRows, error) {
			request := &pb.CommitMachineLifecycleRequest{
				RuntimeId: &runtimeID, Record: record, InputStates: sent.rows, InputUploadId: sent.uploadID, UnchangedInputs: sent.unchanged,
			}
			var err error
			response, err = mutate(ctx, s.client, call.under(sent.requestID), "CommitMachineLifecycle", request,
				s.conn.rpc.CommitMachineLifecycle)
			return response, err
		},
	})
	if err != nil {
		return CommittedInputs{}, err
	}
	done := Committed{Version(response.GetVersion()), response.GetReplayed()}
	return CommittedInputs{Committed: done, Kept: kept, Inputs: response.GetInputs()}, nil
}

// LoadMachineLifecycleRecord returns the serialised lifecycle record of a runtime exactly as it was committed, whatever its version, or
// nil when none is stored. LoadMachineLifecycle decodes it.
func (s *Store) LoadMachineLifecycleRecord(ctx context.Context, runtimeID string) (*Loaded[[]byte], error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.LoadMachineLifecycleRecordRequest{RuntimeId: &runtimeID, Form: pb.RecordForm_RECORD_FORM_BYTES}
	response, err := unary(ctx, s.conn, "LoadMachineLifecycleRecord", "", request, s.conn.rpc.LoadMachineLifecycleRecord)
	if err != nil || response.RecordBytes == nil {
		return nil, err
	}
	return loaded(response.GetRecordBytes(), response.GetVersion()), nil
}

// LoadMachineLifecycle returns the lifecycle record of a runtime, or nil when none is stored. It fails with ErrUnsupportedRecordVersion
// for a record of another version than 1, and with ErrDamagedRecord for bytes that are no record.
func (s *Store) LoadMachineLifecycle(ctx context.Context, runtimeID string) (*Loaded[*pb.MachineLifecycleRecord], error) {
	stored, err := s.LoadMachineLifecycleRecord(ctx, runtimeID)
	if err != nil || stored == nil {
		return nil, err
	}
	record := &pb.MachineLifecycleRecord{}
	if err := proto.Unmarshal(stored.Value, record); err != nil {
		e := withCause(failed(false, ErrDamagedRecord, "the stored lifecycle record cannot be decoded"), err)
		e.RuntimeID, e.Record = &runtimeID, "machine lifecycle record"
		return nil, e
	}
	if version := record.GetRecordVersion(); version != lifecycleVersion {
		e := failed(false, ErrUnsupportedRecordVersion,
			"expected a lifecycle record of version 1, found version "+strconv.FormatUint(uint64(version), 10))
		e.RuntimeID, e.Record, e.Expected = &runtimeID, "record_version", "1"
		e.Actual = strconv.FormatUint(uint64(version), 10)
		return nil, e
	}
	return &Loaded[*pb.MachineLifecycleRecord]{record, stored.Version}, nil
}

// LoadRuntimeState returns the state in the lifecycle record of a runtime, or RUNTIME_STATE_UNSPECIFIED when none is stored. It fails as
// LoadMachineLifecycle does.
func (s *Store) LoadRuntimeState(ctx context.Context, runtimeID string) (pb.RuntimeState, error) {
	record, err := s.LoadMachineLifecycle(ctx, runtimeID)
	if err != nil || record == nil {
		return pb.RuntimeState_RUNTIME_STATE_UNSPECIFIED, err
	}
	return record.Value.GetRuntimeState(), nil
}
