package bolthole_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	"github.com/bolthole/bolthole-go"
	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// makeText returns a document of numbered lines.
func makeText(from, to int) []byte {
	var text bytes.Buffer
	for n := from; n < to; n++ {
		fmt.Fprintf(&text, "line %d of a document with the number %d;\n", n, n*2654435761%(1<<32))
	}
	return text.Bytes()
}

func manyRows(from, to int) []*pb.StoredInputState {
	rows := make([]*pb.StoredInputState, 0, to-from)
	for n := from; n < to; n++ {
		rows = append(rows, acceptedRow(fmt.Sprintf("0198f01a-0000-7000-8000-%012x", n)))
	}
	return rows
}

func TestPatchesAreStoredByteForByte(t *testing.T) {
	d := startDaemon(t)
	writer, reader, ctx := d.connect(), d.connect(bolthole.WithDocumentCacheBytes(0)), testContext(t)
	base := makeText(0, 2000)
	documents := [][]byte{
		base,
		append(bytes.Clone(base), "one more"...),
		append(bytes.Clone(base[:40_000]), base[50_000:]...),
		append(append(bytes.Clone(base[30_000:]), "moved"...), base[:30_000]...),
		append(append(bytes.Clone(base), "a copy:"...), base...),
		makeText(9000, 11000),
		[]byte("short"),
		{},
	}
	for i, document := range documents {
		done := must(writer.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(document)))(t)
		found := must(reader.LoadSessionSnapshot(ctx, "rt"))(t)
		if !bytes.Equal(found.Data, document) || found.Version != done.Version {
			t.Errorf("document %d: expected the committed bytes", i)
		}
	}
	// Another client replaces the base: the patch is refused, and the client sends the whole document.
	must(writer.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(base)))(t)
	must(reader.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque([]byte("other"))))(t)
	must(writer.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(documents[1])))(t)
	if found := must(reader.LoadSessionSnapshot(ctx, "rt"))(t); !bytes.Equal(found.Data, documents[1]) {
		t.Error("expected the whole document")
	}
	// The caller changes bytes that the client holds: the checksum is wrong, and the client sends the whole document.
	held := bytes.Clone(base)
	must(writer.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(held)))(t)
	held[100] ^= 1
	next := append(bytes.Clone(held), "next"...)
	must(writer.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(next)))(t)
	if found := must(reader.LoadSessionSnapshot(ctx, "rt"))(t); !bytes.Equal(found.Data, next) {
		t.Error("expected the new document")
	}
}

func TestLongDocumentsAreUploaded(t *testing.T) {
	d := startDaemon(t, "--max-request-size", "256KiB")
	store, ctx := d.connect(), testContext(t)
	document := makeText(0, 40_000)
	must(store.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(document)))(t)
	reader := must(store.OpenSessionSnapshot(ctx, "rt"))(t)
	found, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(found, document) || reader.Length != int64(len(document)) || reader.Close() != nil {
		t.Errorf("expected the same bytes, found %d and %v", len(found), err)
	}
	// A reader that is closed early.
	early := must(store.OpenSessionSnapshot(ctx, "rt"))(t)
	if _, err := early.Read(make([]byte, 10)); err != nil || early.Close() != nil {
		t.Error("expected ten bytes")
	}
	id := must(store.UploadDocument(ctx, "rt", pb.RecordKind_RECORD_KIND_SESSION_SNAPSHOT, iotest.OneByteReader(strings.NewReader("streamed")),
		8, sha256.Sum256([]byte("streamed"))))(t)
	must(store.CommitSessionSnapshot(ctx, "rt", bolthole.Uploaded(id, pb.SessionProfile_SESSION_PROFILE_OPAQUE)))(t)
	if found := must(store.LoadSessionSnapshot(ctx, "rt"))(t); string(found.Data) != "streamed" {
		t.Errorf("expected the streamed bytes, found %q", found.Data)
	}
	_, err = store.UploadDocument(ctx, "rt", pb.RecordKind_RECORD_KIND_SESSION_SNAPSHOT, strings.NewReader("other"), 5, sha256.Sum256(nil))
	failureOf(t, bolthole.ErrInvalidArgument, err)
	own := errors.New("of the caller")
	_, err = store.UploadDocument(ctx, "rt", pb.RecordKind_RECORD_KIND_SESSION_SNAPSHOT, iotest.ErrReader(own), 5, sha256.Sum256(nil))
	if err != own {
		t.Errorf("expected the error of the reader, found %v", err)
	}
}

func TestUnchangedRows(t *testing.T) {
	d := startDaemon(t)
	one, other, ctx := d.connect(), d.connect(bolthole.WithInputRowCacheBytes(0)), testContext(t)
	rows := manyRows(0, 50)
	apply := func(sequence uint64) bolthole.CommittedInputs {
		t.Helper()
		done := must(one.AtomicApply(ctx, "rt", bolthole.Boundary{Receipt: receiptOf(sequence), Inputs: rows}))(t)
		found := must(other.LoadInputStates(ctx, "rt"))(t)
		if string(found.Version) != done.Inputs.GetAfter() {
			t.Errorf("expected the version %s, found %s", done.Inputs.GetAfter(), found.Version)
		}
		for i, row := range rows {
			if !proto.Equal(row, found.Rows[i]) {
				t.Errorf("row %d: expected %v, found %v", i, row, found.Rows[i])
			}
		}
		return done
	}
	if kept := apply(0).Kept; len(kept) != 0 {
		t.Errorf("expected no kept rows, found %d", len(kept))
	}
	rows[3].UpdatedAt = "2026-05-29T00:00:00Z"
	if kept := apply(1).Kept; len(kept) != 49 || kept[3].GetInputId() != rows[4].GetInputId() {
		t.Errorf("expected 49 kept rows in the order of the call, found %d", len(kept))
	}
	if kept := apply(2).Kept; len(kept) != 50 {
		t.Errorf("expected 50 kept rows, found %d", len(kept))
	}
	// Another client changes a row: the request without it is refused, and the client sends all rows.
	changed := proto.Clone(rows[9]).(*pb.StoredInputState)
	changed.AdmissionSequence = proto.Uint64(7)
	must(other.PersistInputState(ctx, "rt", changed))(t)
	if kept := apply(3).Kept; len(kept) != 49 {
		t.Errorf("expected 49 kept rows, found %d", len(kept))
	}
	// An invalid row is named by its place among all rows.
	wrong := proto.Clone(rows[30]).(*pb.StoredInputState)
	wrong.CreatedAt = "yesterday"
	rows[30] = wrong
	_, err := one.AtomicApply(ctx, "rt", bolthole.Boundary{Receipt: receiptOf(4), Inputs: rows})
	if e := failureOf(t, bolthole.ErrInvalidArgument, err); e.Record != "input_updates[30].created_at" {
		t.Errorf("expected the name of the row, found %s", e.Record)
	}
}

func TestManyAndLongRowsAreUploaded(t *testing.T) {
	d := startDaemon(t, "--max-request-size", "1MiB", "--max-input-row-size", "4MiB")
	store, ctx := d.connect(bolthole.WithMaxMessageBytes(8<<20)), testContext(t)
	rows := manyRows(0, 4500)
	long := fmt.Sprintf(`{"input_type":"prompt","header":{},"text":%q}`, strings.Repeat("long ", 300_000))
	rows[10].IdempotencyKey = proto.String(long)
	done := must(store.CommitMachineLifecycle(ctx, "rt", idle(1), rows))(t)
	found := must(store.LoadInputStates(ctx, "rt"))(t)
	if len(found.Rows) != len(rows) || string(found.Version) != done.Inputs.GetAfter() || !proto.Equal(found.Rows[10], rows[10]) {
		t.Errorf("expected %d rows, found %d", len(rows), len(found.Rows))
	}
	// Only the changed row is sent now.
	rows[4000].UpdatedAt = "2026-05-29T00:00:00Z"
	again := must(store.CommitMachineLifecycle(ctx, "rt", idle(1), rows))(t)
	if len(again.Kept) != len(rows)-1 {
		t.Errorf("expected all other rows kept, found %d", len(again.Kept))
	}
	must(store.PersistInputState(ctx, "rt", rows[10]))(t)
	rows[11].CreatedAt = "yesterday"
	_, err := store.CommitMachineLifecycle(ctx, "other", idle(1), rows)
	if e := failureOf(t, bolthole.ErrInvalidArgument, err); e.Record != "input_states[11].created_at" {
		t.Errorf("expected the name of the row, found %s", e.Record)
	}
}

func TestCompareAndSetOfSnapshots(t *testing.T) {
	store, ctx := startDaemon(t).connect(), testContext(t)
	first, second := makeText(0, 1000), makeText(0, 1001)
	if _, isDone, err := store.ReplaceSessionSnapshotIfCurrent(ctx, "rt", bolthole.SnapshotBytes(first), bolthole.Opaque(second)); err != nil || isDone {
		t.Errorf("expected a missed expectation, found %v %v", isDone, err)
	}
	done := must(store.CommitSessionSnapshot(ctx, "rt", bolthole.Opaque(first)))(t)
	replace := func(expected bolthole.ExpectedSnapshot, next []byte) (bolthole.Version, bool) {
		t.Helper()
		replaced, isDone, err := store.ReplaceSessionSnapshotIfCurrent(ctx, "rt", expected, bolthole.Opaque(next))
		if err != nil {
			t.Fatal(err)
		}
		return replaced.Version, isDone
	}
	if _, isDone := replace(bolthole.SnapshotBytes(first), second); !isDone {
		t.Error("expected a replaced document by its bytes")
	}
	if _, isDone := replace(bolthole.SnapshotVersion(done.Version), first); isDone {
		t.Error("expected a missed version")
	}
	version, isDone := replace(bolthole.SnapshotSHA256(sha256.Sum256(second)), first)
	if !isDone {
		t.Error("expected a replaced document by its digest")
	}
	if _, isCleared, err := store.ClearSessionSnapshotIfCurrent(ctx, "rt", bolthole.SnapshotBytes(second)); err != nil || isCleared {
		t.Errorf("expected a missed expectation, found %v %v", isCleared, err)
	}
	if _, isCleared, err := store.ClearSessionSnapshotIfCurrent(ctx, "rt", bolthole.SnapshotVersion(version)); err != nil || !isCleared {
		t.Errorf("expected a cleared snapshot, found %v %v", isCleared, err)
	}
}

func TestExpectationsOfAStore(t *testing.T) {
	store, ctx := startDaemon(t).connect(), testContext(t)
	done := must(store.CommitMachineLifecycle(ctx, "rt", idle(5), nil))(t)
	lifecycle := pb.RecordKind_RECORD_KIND_MACHINE_LIFECYCLE
	fenced := store.WithExpectations(bolthole.ExpectFence(5), bolthole.ExpectVersion(lifecycle, done.Version))
	must(fenced.PersistInputState(ctx, "rt", acceptedRow(inputID)))(t)
	_, err := fenced.WithExpectations(bolthole.ExpectFence(4)).ClearSessionSnapshot(ctx, "rt")
	failureOf(t, bolthole.ErrFenceConflict, err)
	_, err = fenced.ClearSessionSnapshot(ctx, "rt", bolthole.ExpectInputAbsent(inputID))
	failureOf(t, bolthole.ErrVersionConflict, err)
	must(fenced.CommitMachineLifecycle(ctx, "rt", idle(5), nil))(t)
	_, err = fenced.ClearSessionSnapshot(ctx, "rt")
	failureOf(t, bolthole.ErrVersionConflict, err)
	again := must(store.LoadMachineLifecycle(ctx, "rt"))(t)
	must(fenced.ClearSessionSnapshot(ctx, "rt", bolthole.ExpectVersion(lifecycle, again.Version)))(t)
	must(store.ClearSessionSnapshot(ctx, "rt"))(t)
}
