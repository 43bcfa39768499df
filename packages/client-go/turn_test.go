package bolthole_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/bolthole/bolthole-go"
	pb "github.com/bolthole/bolthole-go/boltholepb"
)

const (
	inputID = "0198f01a-0000-7000-8000-000000000001"
	runID   = "0198f01a-0000-7000-8000-000000000002"
	instant = "2026-05-28T15:31:27.123456789Z"
)

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func acceptedRow(id string) *pb.StoredInputState {
	return &pb.StoredInputState{
		InputId: id, CurrentState: pb.InputLifecycleState_INPUT_LIFECYCLE_STATE_ACCEPTED, CreatedAt: instant, UpdatedAt: instant,
	}
}

func receiptOf(sequence uint64) *pb.RunBoundaryReceipt {
	return &pb.RunBoundaryReceipt{
		RunId: runID, Boundary: pb.RunApplyBoundary_RUN_APPLY_BOUNDARY_RUN_START, Sequence: sequence, MessageCount: 1,
	}
}

func idle(fence uint64) *pb.MachineLifecycleRecord {
	return &pb.MachineLifecycleRecord{
		RuntimeState: pb.RuntimeState_RUNTIME_STATE_IDLE, Binding: &pb.MachineLifecycleBinding{FenceToken: &fence},
	}
}

// takeTurn stores a lifecycle record, accepts an input, applies a boundary, and reads everything back.
func takeTurn(t *testing.T, store *bolthole.Store, runtimeID string) {
	ctx := testContext(t)
	must(store.CommitMachineLifecycle(ctx, runtimeID, idle(1), nil))(t)
	row := acceptedRow(inputID)
	must(store.PersistInputState(ctx, runtimeID, row))(t)
	staged := proto.Clone(row).(*pb.StoredInputState)
	staged.CurrentState, staged.AttemptCount = pb.InputLifecycleState_INPUT_LIFECYCLE_STATE_STAGED, 1
	document := bolthole.Opaque([]byte(`{"messages":["hello"]}`))
	boundary := bolthole.Boundary{Document: document, Receipt: receiptOf(0), Inputs: []*pb.StoredInputState{staged}}
	done := must(store.AtomicApply(ctx, runtimeID, boundary))(t)

	snapshot := must(store.LoadSessionSnapshot(ctx, runtimeID))(t)
	if string(snapshot.Data) != `{"messages":["hello"]}` || snapshot.Version != done.Version || !snapshot.IsOpaque() {
		t.Errorf("expected the committed document at %s, found %q at %s", done.Version, snapshot.Data, snapshot.Version)
	}
	inputs := must(store.LoadInputStates(ctx, runtimeID))(t)
	if len(inputs.Rows) != 1 || !proto.Equal(inputs.Rows[0], staged) || string(inputs.Version) != done.Inputs.GetAfter() {
		t.Errorf("expected the staged row, found %v", inputs.Rows)
	}
	one := must(store.LoadInputState(ctx, runtimeID, inputID))(t)
	if !proto.Equal(one.Value, staged) || one.Version != inputs.Versions[0] {
		t.Errorf("expected the staged row, found %v", one)
	}
	receipt := must(store.LoadBoundaryReceipt(ctx, runtimeID, runID, 0))(t)
	if !proto.Equal(receipt.Value, receiptOf(0)) {
		t.Errorf("expected the receipt, found %v", receipt.Value)
	}
	if state := must(store.LoadRuntimeState(ctx, runtimeID))(t); state != pb.RuntimeState_RUNTIME_STATE_IDLE {
		t.Errorf("expected an idle runtime, found %s", state)
	}
}

func TestATurnAndBack(t *testing.T) {
	d := startDaemon(t, "--listen", "127.0.0.1:0")
	t.Run("over the socket", func(t *testing.T) { takeTurn(t, d.connect(), "socket") })
	t.Run("over a path", func(t *testing.T) { takeTurn(t, connectTo(t, bolthole.WithTarget(d.socket())), "path") })
	t.Run("over TCP", func(t *testing.T) {
		store := connectTo(t, bolthole.WithTarget(d.tcpAddress()), bolthole.WithToken(d.token()))
		takeTurn(t, store, "tcp")
	})
	t.Run("by the environment", func(t *testing.T) {
		t.Setenv("BOLTHOLE_DATA", d.data)
		takeTurn(t, connectTo(t), "environment")
	})
}

func TestWhatIsNotStored(t *testing.T) {
	store, ctx := startDaemon(t).connect(), testContext(t)
	if found := must(store.LoadSessionSnapshot(ctx, "none"))(t); found != nil {
		t.Errorf("expected no snapshot, found %v", found)
	}
	if found := must(store.OpenSessionSnapshot(ctx, "none"))(t); found != nil {
		t.Errorf("expected no snapshot, found %v", found)
	}
	if found := must(store.LoadOpsLifecycleJSON(ctx, "none"))(t); found != nil {
		t.Errorf("expected no operation snapshot, found %v", found)
	}
	if found := must(store.LoadOpsLifecycle(ctx, "none"))(t); found != nil {
		t.Errorf("expected no operation snapshot, found %v", found)
	}
	if found := must(store.LoadMachineLifecycle(ctx, "none"))(t); found != nil {
		t.Errorf("expected no lifecycle record, found %v", found)
	}
	if found := must(store.LoadBoundaryReceipt(ctx, "none", runID, 7))(t); found != nil {
		t.Errorf("expected no receipt, found %v", found)
	}
	if found := must(store.LoadInputState(ctx, "none", inputID))(t); found != nil {
		t.Errorf("expected no row, found %v", found)
	}
	if found := must(store.LoadInputStates(ctx, "none"))(t); len(found.Rows) != 0 {
		t.Errorf("expected no rows, found %v", found)
	}
	if found := must(store.LoadAuthOauthFlowSnapshot(ctx))(t); found != nil {
		t.Errorf("expected no OAuth state, found %v", found)
	}
	if state := must(store.LoadRuntimeState(ctx, "none"))(t); state != pb.RuntimeState_RUNTIME_STATE_UNSPECIFIED {
		t.Errorf("expected no state, found %v", state)
	}
	for range store.ListRuntimes(ctx) {
		t.Error("expected no runtimes")
	}
}

func TestOperationSnapshotsAndOAuth(t *testing.T) {
	store, ctx := startDaemon(t).connect(), testContext(t)
	operations := []byte(`{"epoch_id":"0198f0a0-0000-7000-8000-0000000000e1","authority_state":{"operations":{},"completion_feed_entries":{},` +
		`"completed_order":[],"max_completed":256,"max_concurrent":null,"active_count":0,"wait_request_id":null,"wait_operation_ids":[],` +
		`"next_completion_seq":1},"operation_specs":{},"completion_entries":[],"cursors":{"agent_applied_cursor":0,` +
		`"runtime_observed_seq":0,"runtime_last_injected_seq":0},"of_a_later_version":true}`)
	if !json.Valid(operations) {
		t.Fatal("expected JSON")
	}
	done := must(store.PersistOpsLifecycleJSON(ctx, "rt", operations))(t)
	found := must(store.LoadOpsLifecycleJSON(ctx, "rt"))(t)
	if !bytes.Equal(found.Value, operations) || found.Version != done.Version {
		t.Errorf("expected the same bytes, found %s", found.Value)
	}
	typed := must(store.LoadOpsLifecycle(ctx, "rt"))(t)
	if typed.Value.GetAuthorityState().GetMaxCompleted() != 256 {
		t.Errorf("expected 256, found %v", typed.Value)
	}
	typed.Value.AuthorityState.MaxCompleted = 7
	must(store.PersistOpsLifecycle(ctx, "rt", typed.Value))(t)
	if again := must(store.LoadOpsLifecycle(ctx, "rt"))(t); again.Value.GetAuthorityState().GetMaxCompleted() != 7 {
		t.Errorf("expected 7, found %v", again.Value)
	}
	upload := must(store.UploadOpsLifecycle(ctx, "rt", bytes.NewReader(operations)))(t)
	must(store.PersistOpsLifecycleUpload(ctx, "rt", upload))(t)
	if again := must(store.LoadOpsLifecycleJSON(ctx, "rt"))(t); !bytes.Equal(again.Value, operations) {
		t.Errorf("expected the same bytes, found %s", again.Value)
	}
	must(store.DeleteOpsLifecycle(ctx, "rt"))(t)
	if again := must(store.LoadOpsLifecycleJSON(ctx, "rt"))(t); again != nil {
		t.Errorf("expected none, found %s", again.Value)
	}

	must(store.PersistAuthOauthFlowSnapshot(ctx, []byte("flow;")))(t)
	must(store.UpdateAuthOauthFlowSnapshot(ctx, func(current []byte) ([]byte, error) {
		return append(bytes.Clone(current), "next;"...), nil
	}))(t)
	if found := must(store.LoadAuthOauthFlowSnapshot(ctx))(t); string(found.Value) != "flow;next;" {
		t.Errorf("expected both flows, found %q", found.Value)
	}
	_, isDone, current, err := store.ReplaceAuthOauthFlowSnapshotIfCurrent(ctx, "", []byte("other"))
	if err != nil || isDone || string(current.Value) != "flow;next;" {
		t.Errorf("expected a missed expectation with the current state, found %v %v %v", isDone, current, err)
	}
	own := errors.New("of the caller")
	if _, err := store.UpdateAuthOauthFlowSnapshot(ctx, func([]byte) ([]byte, error) { return nil, own }); err != own {
		t.Errorf("expected the error of the caller, found %v", err)
	}
	if key := store.AuthAuthorityKey(); key != "bolthole:"+store.StoreID() {
		t.Errorf("expected the store id, found %s", key)
	}
}

func TestRuntimesAndCommits(t *testing.T) {
	store, ctx := startDaemon(t).connect(), testContext(t)
	takeTurn(t, store, "one")
	must(store.CommitSessionSnapshot(ctx, "", bolthole.Opaque(nil)))(t)
	names := map[string]bool{}
	for runtime, err := range store.ListRuntimes(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		names[runtime.GetRuntimeId()] = runtime.GetHasSessionSnapshot()
	}
	if len(names) != 2 || !names["one"] || !names[""] {
		t.Errorf("expected two runtimes with snapshots, found %v", names)
	}
	empty := must(store.LoadSessionSnapshot(ctx, ""))(t)
	if empty == nil || len(empty.Data) != 0 {
		t.Errorf("expected an empty document, found %v", empty)
	}
	deleted := must(store.DeleteRuntime(ctx, "one"))(t)
	if deleted.GetInputStates() != 1 || deleted.GetReceipts() != 1 || !deleted.GetHadMachineLifecycle() {
		t.Errorf("expected all records, found %v", deleted)
	}

	id := store.NewRequestID()
	first := must(store.ClearSessionSnapshot(ctx, "", bolthole.WithRequestID(id)))(t)
	second := must(store.ClearSessionSnapshot(ctx, "", bolthole.WithRequestID(id)))(t)
	if first.Replayed || !second.Replayed || first.Version != second.Version {
		t.Errorf("expected a replayed response, found %v and %v", first, second)
	}
	commit := must(store.GetCommit(ctx, id))(t)
	if commit.GetState() != pb.CommitState_COMMIT_STATE_APPLIED || commit.GetMethod() != "ClearSessionSnapshot" {
		t.Errorf("expected an applied request, found %v", commit)
	}
	unused := store.NewRequestID()
	if state := must(store.SealCommit(ctx, unused))(t).GetState(); state != pb.CommitState_COMMIT_STATE_SEALED {
		t.Errorf("expected a sealed id, found %v", state)
	}
	_, err := store.ClearSessionSnapshot(ctx, "", bolthole.WithRequestID(unused))
	if !errors.Is(err, bolthole.ErrRequestIDSealed) {
		t.Errorf("expected a sealed id, found %v", err)
	}
}
