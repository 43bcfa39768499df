package bolthole_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/bolthole/bolthole-go"
	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// failureOf returns the *Error of a call, which must have the reason.
func failureOf(t testing.TB, reason bolthole.Reason, err error) *bolthole.Error {
	t.Helper()
	var e *bolthole.Error
	if !errors.Is(err, reason) || !errors.As(err, &e) {
		t.Fatalf("expected %s, found %v", reason, err)
	}
	return e
}

func TestReasonsOfTheDaemon(t *testing.T) {
	d := startDaemon(t, "--max-request-size", "1MiB", "--listen", "127.0.0.1:0")
	store, ctx := d.connect(), testContext(t)
	takeTurn(t, store, "rt")
	refusal := func(reason bolthole.Reason, err error) *bolthole.Error {
		t.Helper()
		e := failureOf(t, reason, err)
		if e.Applied != bolthole.AppliedNo {
			t.Errorf("%s: expected that nothing was applied, found %s", reason, e.Applied)
		}
		return e
	}

	_, err := store.LoadInputState(ctx, "rt", "no id")
	if e := refusal(bolthole.ErrInvalidArgument, err); e.Record != "input_id" || e.Variant != bolthole.ReadFailed || e.Retry != bolthole.RetryNever {
		t.Errorf("expected the field input_id of a load, found %#v", e)
	}
	_, err = store.PersistInputState(ctx, "rt", nil)
	refusal(bolthole.ErrInvalidArgument, err)
	_, err = store.ClearSessionSnapshot(ctx, "rt", bolthole.WithRequestID(""))
	refusal(bolthole.ErrInvalidArgument, err)
	_, err = store.ClearSessionSnapshot(ctx, "rt", bolthole.WithRequestID("no id"))
	refusal(bolthole.ErrInvalidArgument, err)
	_, err = store.PersistAuthOauthFlowSnapshot(ctx, make([]byte, 2<<20))
	if e := refusal(bolthole.ErrTooLarge, err); e.Record != "request" || !strings.Contains(e.Expected, "1048576") {
		t.Errorf("expected the limit of a request, found %#v", e)
	}
	contradiction := acceptedRow(inputID)
	contradiction.CurrentState = pb.InputLifecycleState_INPUT_LIFECYCLE_STATE_CONSUMED
	_, err = store.PersistInputState(ctx, "rt", contradiction)
	refusal(bolthole.ErrRecordRejected, err)
	_, err = store.CommitMachineLifecycle(ctx, "rt", &pb.MachineLifecycleRecord{RecordVersion: 2, RuntimeState: 2}, nil)
	refusal(bolthole.ErrUnsupportedRecordVersion, err)

	_, err = store.AtomicApply(ctx, "rt", bolthole.Boundary{Receipt: receiptOf(0)})
	if e := refusal(bolthole.ErrReceiptExists, err); e.Identical == nil || !*e.Identical || e.RuntimeID == nil || *e.RuntimeID != "rt" {
		t.Errorf("expected an identical receipt of rt, found %#v", e)
	}
	other := receiptOf(0)
	other.MessageCount = 9
	_, err = store.AtomicApply(ctx, "rt", bolthole.Boundary{Receipt: other})
	if e := refusal(bolthole.ErrReceiptExists, err); e.Identical == nil || *e.Identical {
		t.Errorf("expected another receipt, found %#v", e)
	}
	_, err = store.CommitSessionSnapshot(ctx, "session", bolthole.Session([]byte(`{}`)))
	refusal(bolthole.ErrInvalidArgument, err)
	session := bolthole.Session([]byte(`{"version":2,"id":"0198f01a-0000-7000-8000-0000000000aa","messages":[],` +
		`"created_at":{"secs_since_epoch":1780000000,"nanos_since_epoch":0},"updated_at":{"secs_since_epoch":1780000000,` +
		`"nanos_since_epoch":0},"metadata":{},"usage":{"input_tokens":0,"output_tokens":0}}`))
	_, err = store.CommitSessionSnapshot(ctx, "rt", session)
	refusal(bolthole.ErrProfileMismatch, err)
	if _, err = store.CommitSessionSnapshot(ctx, "session", session); err != nil {
		t.Errorf("expected a stored session, found %v", err)
	}
	rewrite := &pb.TranscriptRewriteCommit{
		ParentRevision: "sha256:other", Revision: "sha256:next", Reason: &pb.TranscriptRewriteReason{Kind: "compaction"},
		CommittedAt: &pb.SystemTime{Seconds: 1}, OriginalSpanDigest: "sha256:a", ReplacementDigest: "sha256:b",
		Selection: &pb.TranscriptRewriteSelection{
			Selection: &pb.TranscriptRewriteSelection_MessageRange{MessageRange: &pb.MessageRange{}},
		},
	}
	_, err = store.CommitSessionTranscriptRewriteSnapshot(ctx, "session", session, rewrite)
	if e := refusal(bolthole.ErrTranscriptRevisionConflict, err); e.Expected != "sha256:other" || e.Variant != bolthole.TranscriptRevisionConflict {
		t.Errorf("expected the parent revision, found %#v", e)
	}
	_, err = store.CommitSessionTranscriptRewriteSnapshot(ctx, "unknown", session, rewrite)
	refusal(bolthole.ErrTranscriptRejected, err)
	boundary := bolthole.Boundary{Document: session, Receipt: receiptOf(1), SessionStoreKey: "0198f01a-0000-7000-8000-0000000000bb"}
	_, err = store.AtomicApply(ctx, "session", boundary)
	if e := refusal(bolthole.ErrSessionKeyMismatch, err); e.Variant != bolthole.SessionKeyMismatch || e.Actual == "" {
		t.Errorf("expected both ids, found %#v", e)
	}

	_, err = store.ClearSessionSnapshot(ctx, "rt", bolthole.ExpectFence(9))
	if e := refusal(bolthole.ErrFenceConflict, err); e.Expected != "9" || e.Actual != "1" || e.Retry != bolthole.RetryAfterReload {
		t.Errorf("expected the fences 9 and 1, found %#v", e)
	}
	_, err = store.ClearSessionSnapshot(ctx, "rt", bolthole.ExpectAbsent(pb.RecordKind_RECORD_KIND_MACHINE_LIFECYCLE))
	if e := refusal(bolthole.ErrVersionConflict, err); e.Record != "machine_lifecycle" {
		t.Errorf("expected the lifecycle record, found %#v", e)
	}
	_, err = store.ClearSessionSnapshot(ctx, "rt", bolthole.ExpectInputVersion(inputID, "e.0"))
	refusal(bolthole.ErrVersionConflict, err)
	_, err = store.CommitSessionSnapshot(ctx, "rt", bolthole.Uploaded("none", pb.SessionProfile_SESSION_PROFILE_OPAQUE))
	refusal(bolthole.ErrUploadUnknown, err)

	id := store.NewRequestID()
	must(store.ClearSessionSnapshot(ctx, "other", bolthole.WithRequestID(id)))(t)
	_, err = store.ClearSessionSnapshot(ctx, "another", bolthole.WithRequestID(id))
	refusal(bolthole.ErrRequestIDReused, err)
	// A time that is centuries ahead.
	if _, err = store.ClearSessionSnapshot(ctx, "other", bolthole.WithRequestID("7fffffff-0000-7000-8000-000000000001")); err == nil {
		t.Error("expected a refused request id")
	} else if e := refusal(bolthole.ErrInvalidArgument, err); e.RequestIDTimes == nil || e.Record != "request_id" {
		t.Errorf("expected the times of request ids, found %#v", e)
	}
}

func TestWrongOptionsAndTargets(t *testing.T) {
	folder, ctx := t.TempDir(), testContext(t)
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string][]bolthole.Option{
		"a scheme":        {bolthole.WithTarget("http://127.0.0.1:1")},
		"a port":          {bolthole.WithTarget("127.0.0.1:99999")},
		"no path":         {bolthole.WithTarget("unix://")},
		"a file":          {bolthole.WithTarget(file)},
		"nothing":         {bolthole.WithTarget(" ")},
		"an empty folder": {bolthole.WithDataFolder("")},
		"two places":      {bolthole.WithTarget("127.0.0.1:1"), bolthole.WithDataFolder(folder)},
		"a timeout":       {bolthole.WithTimeout(0)},
		"a message size":  {bolthole.WithMaxMessageBytes(1)},
		"a budget":        {bolthole.WithDocumentCacheBytes(-1)},
		"an empty token":  {bolthole.WithToken("\n")},
		"a bad token":     {bolthole.WithToken("secret-with-a-\x00")},
	} {
		store, err := bolthole.Connect(ctx, opts...)
		var e *bolthole.Error
		if err == nil || store != nil || errors.As(err, &e) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: expected an error of an option without secrets, found %v", name, err)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	folder := t.TempDir()
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	_, err := bolthole.Connect(ctx, bolthole.WithDataFolder(folder))
	e := failureOf(t, bolthole.ErrUnavailable, err)
	if !strings.Contains(e.Text, "there is no socket at") || !strings.Contains(e.Text, "bolthole serve") {
		t.Errorf("expected the remedy, found %v", e)
	}
	// A socket that nobody listens at.
	socket := filepath.Join(folder, "bolthole.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = listener.Close()
	ctx, stop = context.WithTimeout(context.Background(), time.Second)
	defer stop()
	_, err = bolthole.Connect(ctx, bolthole.WithTarget(socket))
	if e = failureOf(t, bolthole.ErrUnavailable, err); !strings.Contains(e.Text, "which an earlier daemon left behind") {
		t.Errorf("expected the remedy, found %v", e)
	}
}

func TestTheTokenIsInNoText(t *testing.T) {
	d := startDaemon(t, "--listen", "127.0.0.1:0")
	token := strings.TrimSpace(d.token())
	store, ctx := connectTo(t, bolthole.WithTarget(d.tcpAddress()), bolthole.WithToken(token)), testContext(t)
	_, err := store.LoadInputState(ctx, "rt", "no id")
	wrong := "wrong-token-wrong-token-wrong-token"
	_, refused := bolthole.Connect(ctx, bolthole.WithTarget(d.tcpAddress()), bolthole.WithToken(wrong))
	failureOf(t, bolthole.ErrUnauthenticated, refused)
	d.kill()
	ended, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	_, lost := store.ClearSessionSnapshot(ended, "rt")
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v", err, err, err), fmt.Sprintf("%v %+v %#v", refused, refused, refused),
		fmt.Sprintf("%v %+v %#v", lost, lost, lost), fmt.Sprintf("%v %+v", store, store),
	} {
		if strings.Contains(text, token) || strings.Contains(text, wrong) {
			t.Errorf("expected no token in %s", text)
		}
	}
}

func TestTheTokenOfTheFolderWithoutItsSocket(t *testing.T) {
	d := startDaemon(t, "--listen", "127.0.0.1:0")
	// As in a container that shares the folder, but not the socket.
	folder := t.TempDir()
	for _, name := range []string{"endpoint", "token"} {
		text := must(os.ReadFile(filepath.Join(d.data, name)))(t)
		text = bytes.ReplaceAll(text, []byte("bolthole.sock"), []byte("elsewhere.sock"))
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	takeTurn(t, connectTo(t, bolthole.WithDataFolder(folder)), "rt")
}

func TestCancellationAndDeadlines(t *testing.T) {
	d := startDaemon(t)
	store := d.connect()
	cancelled, stop := context.WithCancel(context.Background())
	stop()
	_, err := store.ClearSessionSnapshot(cancelled, "rt")
	if failureOf(t, bolthole.ErrCancelled, err); !errors.Is(err, context.Canceled) {
		t.Errorf("expected context.Canceled, found %v", err)
	}
	passed, stop := context.WithTimeout(context.Background(), -time.Second)
	defer stop()
	_, err = store.LoadInputStates(passed, "rt")
	if failureOf(t, bolthole.ErrDeadlineExceeded, err); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("expected context.DeadlineExceeded, found %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = store.ClearSessionSnapshot(testContext(t), "rt")
	failureOf(t, bolthole.ErrClosed, err)
	for _, err := range store.ListRuntimes(testContext(t)) {
		failureOf(t, bolthole.ErrClosed, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAReplacedStoreIsRefused(t *testing.T) {
	d := startDaemon(t)
	store, ctx := d.connect(), testContext(t)
	must(store.CommitMachineLifecycle(ctx, "rt", idle(1), nil))(t)
	d.kill()
	if err := os.RemoveAll(d.data); err != nil {
		t.Fatal(err)
	}
	d.start()
	_, err := store.ClearSessionSnapshot(ctx, "rt")
	failureOf(t, bolthole.ErrStoreReplaced, err)
	_, err = store.LoadMachineLifecycle(ctx, "rt")
	if e := failureOf(t, bolthole.ErrStoreReplaced, err); e.Actual == "" {
		t.Errorf("expected the id of the other store, found %#v", e)
	}
	if info := must(store.GetServerInfo(ctx))(t); info.GetStoreId() == store.StoreID() {
		t.Error("expected another store")
	}
}

func TestRowsOneByOneAndSalvaged(t *testing.T) {
	store, ctx := startDaemon(t).connect(), testContext(t)
	must(store.PersistInputState(ctx, "rt", acceptedRow(inputID)))(t)
	rows := must(store.SalvageInputStates(ctx, "rt"))(t)
	if len(rows.Failures) != 0 || len(rows.Rows) != 1 {
		t.Errorf("expected one row without failures, found %v", rows)
	}
	count := 0
	for row, err := range store.InputStates(ctx, "rt") {
		if err != nil || !proto.Equal(row.Value, acceptedRow(inputID)) {
			t.Errorf("expected the row, found %v %v", row, err)
		}
		count++
	}
	if count != 1 {
		t.Errorf("expected one row, found %d", count)
	}
}
