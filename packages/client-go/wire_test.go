package bolthole

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// recordingStore keeps the requests that it receives and answers the n-th commit with the version v.n.
type recordingStore struct {
	pb.UnimplementedRuntimeStoreServiceServer
	mu       sync.Mutex
	commits  []*pb.CommitSessionSnapshotRequest
	applies  []*pb.AtomicApplyRequest
	uploaded []byte
	expected []string
	// fail returns the error of a commit, or nil.
	fail func(*pb.CommitSessionSnapshotRequest) error
	// wait holds back the responses of commits.
	wait chan struct{}
}

func (r *recordingStore) GetServerInfo(context.Context, *pb.GetServerInfoRequest) (*pb.GetServerInfoResponse, error) {
	return &pb.GetServerInfoResponse{StoreId: "id", Limits: &pb.Limits{
		RequestBytes: 4 << 20, PatchPieces: 4096, PatchInsertBytes: 1 << 20, BatchRows: 4096, InputUploadRows: 10000,
		InputUploadBytes: 1 << 30,
	}}, nil
}

func (r *recordingStore) CommitSessionSnapshot(
	_ context.Context, request *pb.CommitSessionSnapshotRequest,
) (*pb.CommitSessionSnapshotResponse, error) {
	r.mu.Lock()
	r.commits = append(r.commits, request)
	version, fail, wait := "v."+strconv.Itoa(len(r.commits)), r.fail, r.wait
	r.mu.Unlock()
	if wait != nil {
		<-wait
	}
	if fail != nil {
		if err := fail(request); err != nil {
			return nil, err
		}
	}
	return &pb.CommitSessionSnapshotResponse{Version: version}, nil
}

func (r *recordingStore) AtomicApply(_ context.Context, request *pb.AtomicApplyRequest) (*pb.AtomicApplyResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applies = append(r.applies, request)
	n := len(r.applies)
	return &pb.AtomicApplyResponse{Version: "a." + strconv.Itoa(n), Inputs: &pb.InputsVersions{
		Before: "i." + strconv.Itoa(n-1), After: "i." + strconv.Itoa(n),
	}}, nil
}

func (r *recordingStore) UploadSessionSnapshot(
	stream grpc.ClientStreamingServer[pb.UploadSessionSnapshotRequest, pb.UploadSessionSnapshotResponse],
) error {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&pb.UploadSessionSnapshotResponse{UploadId: "u.1"})
		} else if err != nil {
			return err
		}
		r.uploaded = append(r.uploaded, message.GetChunk()...)
	}
}

func (r *recordingStore) ListRuntimes(ctx context.Context, _ *pb.ListRuntimesRequest) (*pb.ListRuntimesResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.expected = md.Get(expectedStoreKey)
	return &pb.ListRuntimesResponse{}, nil
}

// serve connects to a store in this process.
func serve(t *testing.T, service pb.RuntimeStoreServiceServer, opts ...Option) *Store {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterRuntimeStoreServiceServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	store, err := Connect(context.Background(), append([]Option{WithTarget(socket)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func numbered(to int) []byte {
	return makeDocument([]documentPart{{Template: "row {n} with the number {h};", From: 0, To: to}})
}

func TestWhatIsSentOfADocument(t *testing.T) {
	r := &recordingStore{}
	store, ctx := serve(t, r), context.Background()
	commit := func(document []byte, opts ...CallOption) {
		t.Helper()
		if _, err := store.CommitSessionSnapshot(ctx, "rt", Opaque(document), opts...); err != nil {
			t.Fatal(err)
		}
	}
	commit(numbered(1000))
	commit(numbered(1001))
	patch := r.commits[1].GetSessionDelta().GetPatch()
	if !bytes.Equal(r.commits[0].GetSessionDelta().GetSessionSnapshot(), numbered(1000)) || patch.GetBaseVersion() != "v.1" ||
		!bytes.Equal(applyPatch(numbered(1000), patch), numbered(1001)) {
		t.Fatalf("expected the whole document and then a patch, found %v", r.commits[1])
	}
	if r.commits[1].GetExpectedStoreId() != "id" || r.commits[1].GetRequestId() == r.commits[0].GetRequestId() {
		t.Errorf("expected the store id and new request ids, found %v", r.commits[1])
	}

	// Refused because of its base: the whole document, under a new request id.
	r.fail = func(request *pb.CommitSessionSnapshotRequest) error {
		if request.GetSessionDelta().GetPatch() != nil {
			return refusal(t, ErrBaseNotCurrent, nil)
		}
		return nil
	}
	commit(numbered(1002))
	if len(r.commits) != 4 || r.commits[2].GetSessionDelta().GetPatch() == nil ||
		r.commits[3].GetSessionDelta().GetSessionSnapshot() == nil || r.commits[2].GetRequestId() == r.commits[3].GetRequestId() {
		t.Errorf("expected a patch and then the whole document, found %d requests", len(r.commits))
	}
	r.fail = nil

	// A caller's own request id: in full, whatever the cache holds.
	commit(numbered(1003), WithRequestID("own"))
	if last := r.commits[4]; last.GetSessionDelta().GetPatch() != nil || last.GetRequestId() != "own" {
		t.Errorf("expected the whole document, found %v", last.GetSessionDelta())
	}

	// A long document with little in common.
	long := bytes.Repeat([]byte("long "), 600_000)
	commit(long)
	if last := r.commits[5]; last.GetSessionDelta().GetUploadId() != "u.1" || !bytes.Equal(r.uploaded, long) {
		t.Errorf("expected an upload, found %d bytes", len(r.uploaded))
	}
	for range store.ListRuntimes(ctx) {
		t.Error("expected no runtimes")
	}
	if len(r.expected) != 1 || r.expected[0] != "id" {
		t.Errorf("expected the store id in the metadata, found %v", r.expected)
	}
}

func TestWhatIsSentOfRows(t *testing.T) {
	r := &recordingStore{}
	store, ctx := serve(t, r), context.Background()
	var rows []*pb.StoredInputState
	for n := range 10 {
		rows = append(rows, &pb.StoredInputState{InputId: "0198f01a-0000-7000-8000-00000000000" + strconv.Itoa(n), UpdatedAt: "a"})
	}
	apply := func() *pb.AtomicApplyRequest {
		t.Helper()
		if _, err := store.AtomicApply(ctx, "rt", Boundary{Inputs: rows}); err != nil {
			t.Fatal(err)
		}
		return r.applies[len(r.applies)-1]
	}
	if sent := apply(); len(sent.GetInputUpdates()) != 10 || sent.GetUnchangedInputs() != nil {
		t.Errorf("expected all rows, found %v", sent)
	}
	// The caller changes its own row: the cache has a copy.
	rows[4].UpdatedAt = "b"
	sent := apply()
	if len(sent.GetInputUpdates()) != 1 || sent.GetInputUpdates()[0].GetUpdatedAt() != "b" ||
		sent.GetUnchangedInputs().GetInputsVersion() != "i.1" {
		t.Errorf("expected the changed row at i.1, found %v", sent)
	}
	if sent := apply(); len(sent.GetInputUpdates()) != 0 || sent.GetUnchangedInputs().GetInputsVersion() != "i.2" {
		t.Errorf("expected no rows at i.2, found %v", sent)
	}
	// Two rows with one id: the store keeps the last one, so all are sent.
	rows = append(rows, &pb.StoredInputState{InputId: rows[0].GetInputId(), UpdatedAt: "c"})
	if sent := apply(); len(sent.GetInputUpdates()) != 11 {
		t.Errorf("expected all rows, found %d", len(sent.GetInputUpdates()))
	}
}

func TestACallThatWasSentGetsItsResponseAfterClose(t *testing.T) {
	r := &recordingStore{wait: make(chan struct{})}
	store := serve(t, r)
	done := make(chan error)
	go func() {
		_, err := store.CommitSessionSnapshot(context.Background(), "rt", Opaque(nil))
		done <- err
	}()
	for sent := 0; sent == 0; runtime.Gosched() {
		r.mu.Lock()
		sent = len(r.commits)
		r.mu.Unlock()
	}
	_ = store.Close()
	close(r.wait)
	if err := <-done; err != nil {
		t.Errorf("expected the response, found %v", err)
	}
}

func TestACancelledMutationThatWasSentIsUnknown(t *testing.T) {
	r := &recordingStore{wait: make(chan struct{})}
	store := serve(t, r)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := store.CommitSessionSnapshot(ctx, "rt", Opaque(nil))
		done <- err
	}()
	for sent := 0; sent == 0; runtime.Gosched() {
		r.mu.Lock()
		sent = len(r.commits)
		r.mu.Unlock()
	}
	stop()
	err := <-done
	close(r.wait)
	if !isReason(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("expected an unknown outcome after a cancellation, found %v", err)
	}
}

func TestTextThatIsNotUTF8IsRefusedBeforeItIsSent(t *testing.T) {
	r := &recordingStore{}
	store, ctx := serve(t, r), context.Background()
	_, err := store.CommitSessionSnapshot(ctx, "\xff", Opaque(nil))
	if !isReason(err, ErrInvalidArgument) || len(r.commits) != 0 {
		t.Errorf("expected an invalid argument, found %v", err)
	}
	_, err = store.LoadInputStates(ctx, "\xff")
	if !isReason(err, ErrInvalidArgument) {
		t.Errorf("expected an invalid argument, found %v", err)
	}
	_, err = store.UploadSessionSnapshot(ctx, "\xff", bytes.NewReader(nil))
	if !isReason(err, ErrInvalidArgument) {
		t.Errorf("expected an invalid argument, found %v", err)
	}
}
