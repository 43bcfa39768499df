package bolthole_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bolthole/bolthole-go"
	pb "github.com/bolthole/bolthole-go/boltholepb"
)

func TestALostResponseIsAskedForAgain(t *testing.T) {
	d := startDaemon(t)
	between := startRelay(t, d.socket())
	store, ctx := connectTo(t, bolthole.WithTarget(between.path)), testContext(t)
	between.cut(3)
	done := must(store.CommitMachineLifecycle(ctx, "rt", idle(1), nil))(t)
	if !done.Replayed || between.cuts() != 0 {
		t.Errorf("expected the response of the first attempt, found %v", done)
	}
	// A receipt can be written only once.
	for sequence := range uint64(4) {
		between.cut(1)
		applied := must(store.AtomicApply(ctx, "rt", bolthole.Boundary{Receipt: receiptOf(sequence)}))(t)
		if !applied.Replayed {
			t.Errorf("expected the response of the first attempt, found %v", applied)
		}
	}
	between.cut(1)
	if found := must(store.LoadBoundaryReceipt(ctx, "rt", runID, 3))(t); found == nil {
		t.Error("expected the receipt")
	}
	// A load, an upload and a stream over connections that are cut.
	document := makeText(0, 3000)
	between.cut(1)
	upload := must(store.UploadSessionSnapshot(ctx, "rt", bytes.NewReader(document)))(t)
	must(store.CommitSessionSnapshot(ctx, "rt", bolthole.Uploaded(upload, pb.SessionProfile_SESSION_PROFILE_OPAQUE)))(t)
	between.cut(2)
	if found := must(store.LoadSessionSnapshot(ctx, "rt"))(t); !bytes.Equal(found.Data, document) {
		t.Error("expected the same bytes")
	}
}

func TestAnUnknownOutcomeIsSettledByTheCaller(t *testing.T) {
	d := startDaemon(t)
	between := startRelay(t, d.socket())
	store, ctx := connectTo(t, bolthole.WithTarget(between.path)), testContext(t)
	must(store.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(makeText(0, 2000))))(t)
	rows := manyRows(0, 20)
	must(store.CommitMachineLifecycle(ctx, "rt", idle(1), rows))(t)

	next := bolthole.Opaque(makeText(0, 2001))
	rows[7].UpdatedAt = "2026-05-28T15:31:28Z"
	boundary := bolthole.Boundary{Document: next, Receipt: receiptOf(0), Inputs: rows}
	const allConnections = 1 << 30
	between.cut(allConnections)
	cancelled, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		// The daemon has responded, and the response is lost.
		for between.cuts() == allConnections && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		stop()
	}()
	_, err := store.AtomicApply(cancelled, "rt", boundary)
	lost := failureOf(t, bolthole.ErrOutcomeUnknown, err)
	if lost.Applied != bolthole.AppliedUnknown || lost.RequestID == "" || lost.Retry != bolthole.RetrySameRequest {
		t.Fatalf("expected the request id, found %#v", lost)
	}
	between.cut(0)
	commit := must(store.GetCommit(ctx, lost.RequestID))(t)
	if commit.GetState() != pb.CommitState_COMMIT_STATE_APPLIED {
		t.Errorf("expected an applied request, found %v", commit)
	}
	// The same request in the same form: a patch and one row.
	again := must(store.AtomicApply(ctx, "rt", boundary, bolthole.WithRequestID(lost.RequestID)))(t)
	if !again.Replayed || string(again.Version) != commit.GetVersion() || len(again.Kept) != 19 {
		t.Errorf("expected the first response, found %v with %d kept rows", again.Committed, len(again.Kept))
	}
}

// TestKilledDaemon kills the daemon in the middle of commits and starts it again. Nothing acknowledged is lost, and nothing is applied
// twice: each writer appends its next number to one document and stores a receipt of the same sequence, which can be stored only once.
func TestKilledDaemon(t *testing.T) {
	const writers, kills = 3, 4
	d := startDaemon(t)
	ctx := testContext(t)
	stop := make(chan struct{})
	var running sync.WaitGroup
	counts := make([]uint64, writers)
	problems := make(chan error, writers)
	progress := make(chan struct{}, 1)
	for writer := range writers {
		store := d.connect(bolthole.WithTimeout(time.Minute))
		running.Add(1)
		go func() {
			defer running.Done()
			runtimeID := fmt.Sprintf("writer-%d", writer)
			var text strings.Builder
			text.WriteString(strings.Repeat("a start that is long enough for a patch;", 600))
			for sequence := uint64(0); ; sequence++ {
				select {
				case <-stop:
					counts[writer] = sequence
					return
				default:
				}
				fmt.Fprintf(&text, "%d;", sequence)
				document := bolthole.Opaque([]byte(text.String()))
				boundary := bolthole.Boundary{Document: document, Receipt: receiptOf(sequence)}
				if _, err := store.AtomicApply(ctx, runtimeID, boundary); err != nil {
					problems <- fmt.Errorf("%s, sequence %d: %w", runtimeID, sequence, err)
					return
				}
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		}()
	}
	for range kills {
		// At least some commits between two kills, however slow the machine is.
		for range 20 {
			select {
			case <-progress:
			case err := <-problems:
				t.Fatal(err)
			}
		}
		d.kill()
		d.start()
	}
	close(stop)
	running.Wait()
	close(problems)
	for err := range problems {
		t.Fatal(err)
	}
	store := d.connect()
	for writer, count := range counts {
		runtimeID := fmt.Sprintf("writer-%d", writer)
		var expected strings.Builder
		expected.WriteString(strings.Repeat("a start that is long enough for a patch;", 600))
		for sequence := range count {
			fmt.Fprintf(&expected, "%d;", sequence)
			if found := must(store.LoadBoundaryReceipt(ctx, runtimeID, runID, sequence))(t); found == nil {
				t.Errorf("%s: expected the receipt %d", runtimeID, sequence)
			}
		}
		found := must(store.LoadSessionSnapshot(ctx, runtimeID))(t)
		if count > 0 && string(found.Data) != expected.String() {
			t.Errorf("%s: expected all %d numbers, found %d bytes", runtimeID, count, len(found.Data))
		}
		for runtime, err := range store.ListRuntimes(ctx) {
			if err != nil || (runtime.GetRuntimeId() == runtimeID && uint64(runtime.GetReceiptCount()) != count) {
				t.Errorf("%s: expected %d receipts, found %v %v", runtimeID, count, runtime, err)
			}
		}
	}
}

func TestTwoClientsCompareAndSet(t *testing.T) {
	const clients, updates = 2, 15
	d := startDaemon(t)
	ctx := testContext(t)
	var running sync.WaitGroup
	problems := make(chan error, 2*clients)
	for client := range clients {
		store := d.connect(bolthole.WithTimeout(time.Minute))
		running.Add(1)
		go func() {
			defer running.Done()
			for n := range updates {
				mark := fmt.Sprintf("%d.%d;", client, n)
				_, err := store.UpdateSessionSnapshot(ctx, "rt", func(current *bolthole.Snapshot) (*bolthole.Document, error) {
					var data []byte
					if current != nil {
						data = current.Data
					}
					next := bolthole.Opaque(append(bytes.Clone(data), mark...))
					return next, nil
				})
				if err == nil {
					_, err = store.UpdateAuthOauthFlowSnapshot(ctx, func(current []byte) ([]byte, error) {
						return append(bytes.Clone(current), mark...), nil
					})
				}
				if err != nil {
					problems <- err
					return
				}
			}
		}()
	}
	running.Wait()
	close(problems)
	for err := range problems {
		t.Fatal(err)
	}
	store := d.connect()
	session := must(store.LoadSessionSnapshot(ctx, "rt"))(t).Data
	oauth := must(store.LoadAuthOauthFlowSnapshot(ctx))(t).Value
	for client := range clients {
		for n := range updates {
			mark := []byte(fmt.Sprintf("%d.%d;", client, n))
			if bytes.Count(session, mark) != 1 || bytes.Count(oauth, mark) != 1 {
				t.Errorf("expected %s once, found %d and %d times", mark, bytes.Count(session, mark), bytes.Count(oauth, mark))
			}
		}
	}
	unchanged := must(store.UpdateSessionSnapshot(ctx, "rt", func(*bolthole.Snapshot) (*bolthole.Document, error) { return nil, nil }))(t)
	if unchanged.Version != "" {
		t.Errorf("expected no change, found %v", unchanged)
	}
	own := errors.New("of the caller")
	if _, err := store.UpdateSessionSnapshot(ctx, "rt",
		func(*bolthole.Snapshot) (*bolthole.Document, error) { return nil, own }); err != own {
		t.Errorf("expected the error of the caller, found %v", err)
	}
}
