package bolthole

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"time"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

const sessionKind = pb.RecordKind_RECORD_KIND_SESSION_SNAPSHOT

// CommitSessionSnapshot replaces the session snapshot of a runtime. The new document does not have to continue the stored one. It fails
// with ErrInvalidArgument when the document is no session, and with ErrProfileMismatch when the stored one has another profile.
func (s *Store) CommitSessionSnapshot(ctx context.Context, runtimeID string, document *Document, opts ...CallOption) (Committed, error) {
	var done Committed
	call, err := s.call(opts)
	if err != nil {
		return done, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	err = s.sendSession(ctx, runtimeID, call, document, func(delta *pb.SessionDelta) (Version, error) {
		request := &pb.CommitSessionSnapshotRequest{RuntimeId: &runtimeID, SessionDelta: delta}
		response, err := mutate(ctx, s.client, call, "CommitSessionSnapshot", request, s.conn.rpc.CommitSessionSnapshot)
		done = Committed{Version(response.GetVersion()), response.GetReplayed()}
		return done.Version, err
	})
	return resultOf(done, err)
}

// CommitSessionTranscriptRewriteSnapshot replaces the session snapshot by a document whose transcript was rewritten. It fails with
// ErrTranscriptRevisionConflict when the parent of commit is not the stored revision, and with ErrTranscriptRejected when the rewrite
// guard refuses the document (docs/sessions.md).
func (s *Store) CommitSessionTranscriptRewriteSnapshot(
	ctx context.Context, runtimeID string, document *Document, commit *pb.TranscriptRewriteCommit, opts ...CallOption,
) (Committed, error) {
	var done Committed
	call, err := s.call(opts)
	if err != nil {
		return done, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	err = s.sendSession(ctx, runtimeID, call, document, func(delta *pb.SessionDelta) (Version, error) {
		request := &pb.CommitSessionTranscriptRewriteSnapshotRequest{RuntimeId: &runtimeID, SessionDelta: delta, Commit: commit}
		response, err := mutate(ctx, s.client, call, "CommitSessionTranscriptRewriteSnapshot", request,
			s.conn.rpc.CommitSessionTranscriptRewriteSnapshot)
		done = Committed{Version(response.GetVersion()), response.GetReplayed()}
		return done.Version, err
	})
	return resultOf(done, err)
}

// resultOf drops the result of an attempt that a later one of the same call replaced.
func resultOf(done Committed, err error) (Committed, error) {
	if err != nil {
		return Committed{}, err
	}
	return done, nil
}

// LoadSessionSnapshot returns the session snapshot of a runtime, with exactly the committed bytes. It returns nil when none is stored.
func (s *Store) LoadSessionSnapshot(ctx context.Context, runtimeID string) (*Snapshot, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	before := s.deltas.documents.get(sessionKind, runtimeID)
	reader, err := s.openSession(ctx, runtimeID)
	if err != nil || reader == nil {
		if err == nil {
			s.deltas.documents.forget(sessionKind, runtimeID)
		}
		return nil, err
	}
	data, err := wholeDocument(reader)
	if err != nil {
		return nil, err
	}
	s.deltas.documents.putLoaded(sessionKind, runtimeID, before, &cachedDocument{reader.Version, data, crc32.ChecksumIEEE(data)})
	return &Snapshot{Data: data, Version: reader.Version, Profile: reader.Profile}, nil
}

// wholeDocument reads a document into memory that is reserved once.
func wholeDocument(reader *DocumentReader) ([]byte, error) {
	defer reader.Close()
	// The length is that of the daemon. The bytes that arrive decide about the memory beyond a part of it.
	whole := bytes.NewBuffer(make([]byte, 0, min(reader.Length+bytes.MinRead, 64*mib)))
	if _, err := whole.ReadFrom(reader); err != nil {
		return nil, err
	}
	return whole.Bytes(), nil
}

// OpenSessionSnapshot returns a reader of the session snapshot of a runtime, or nil when none is stored. The deadline of ctx holds for
// the whole load. Close the reader.
func (s *Store) OpenSessionSnapshot(ctx context.Context, runtimeID string) (*DocumentReader, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	reader, err := s.openSession(ctx, runtimeID)
	return ownContext(reader, stop), err
}

// ownContext makes a reader end its context when it is closed.
func ownContext(reader *DocumentReader, stop context.CancelFunc) *DocumentReader {
	if reader == nil {
		stop()
		return nil
	}
	end := reader.stop
	reader.stop = func() { end(); stop() }
	return reader
}

func (s *Store) openSession(ctx context.Context, runtimeID string) (*DocumentReader, error) {
	request := &pb.LoadSessionSnapshotRequest{RuntimeId: &runtimeID}
	stream, err := openStream(ctx, s.conn, "LoadSessionSnapshot", request, s.conn.rpc.LoadSessionSnapshot)
	if err != nil {
		return nil, err
	}
	first, err := stream.next()
	if errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	info := first.GetInfo()
	return &DocumentReader{
		Version: Version(info.GetVersion()), Length: int64(info.GetLength()), Profile: info.GetProfile(),
		pending: first.GetChunk(), stop: stream.close,
		next: func() ([]byte, error) {
			message, err := stream.next()
			return message.GetChunk(), err
		},
	}, nil
}

// ClearSessionSnapshot deletes the session snapshot of a runtime and its profile. Receipts, input rows and the lifecycle record stay.
func (s *Store) ClearSessionSnapshot(ctx context.Context, runtimeID string, opts ...CallOption) (Committed, error) {
	call, err := s.call(opts)
	if err != nil {
		return Committed{}, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.ClearSessionSnapshotRequest{RuntimeId: &runtimeID}
	response, err := mutate(ctx, s.client, call, "ClearSessionSnapshot", request, s.conn.rpc.ClearSessionSnapshot)
	if err != nil {
		return Committed{}, err
	}
	s.deltas.documents.forget(sessionKind, runtimeID)
	return Committed{Version(response.GetVersion()), response.GetReplayed()}, nil
}

// ReplaceSessionSnapshotIfCurrent replaces the session snapshot if the expected one is stored, and returns whether it did. Otherwise it
// changes nothing, also when none is stored. The replacement is checked first: an invalid one fails even when the expectation is missed.
func (s *Store) ReplaceSessionSnapshotIfCurrent(
	ctx context.Context, runtimeID string, expected ExpectedSnapshot, replacement *Document, opts ...CallOption,
) (Committed, bool, error) {
	var done Committed
	call, err := s.call(opts)
	if err != nil {
		return done, false, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	err = s.sendSession(ctx, runtimeID, call, replacement, func(delta *pb.SessionDelta) (Version, error) {
		return s.sendExpected(runtimeID, call.requestID, expected, func(version *string, sha256 []byte) (Version, error) {
			request := &pb.ReplaceSessionSnapshotIfCurrentRequest{RuntimeId: &runtimeID, Replacement: delta}
			if version != nil {
				request.Expected = &pb.ReplaceSessionSnapshotIfCurrentRequest_Version{Version: *version}
			} else {
				request.Expected = &pb.ReplaceSessionSnapshotIfCurrentRequest_Sha256{Sha256: sha256}
			}
			response, err := mutate(ctx, s.client, call, "ReplaceSessionSnapshotIfCurrent", request,
				s.conn.rpc.ReplaceSessionSnapshotIfCurrent)
			done = Committed{Version(response.GetVersion()), response.GetReplayed()}
			if !response.GetReplaced() {
				done = Committed{}
			}
			return done.Version, err
		})
	})
	done, err = resultOf(done, err)
	return done, done.Version != "", err
}

// ClearSessionSnapshotIfCurrent deletes the session snapshot and its profile if the expected one is stored, and returns whether it did.
// Otherwise it changes nothing, also when none is stored.
func (s *Store) ClearSessionSnapshotIfCurrent(
	ctx context.Context, runtimeID string, expected ExpectedSnapshot, opts ...CallOption,
) (Committed, bool, error) {
	var done Committed
	call, err := s.call(opts)
	if err != nil {
		return done, false, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	_, err = s.sendExpected(runtimeID, call.requestID, expected, func(version *string, sha256 []byte) (Version, error) {
		request := &pb.ClearSessionSnapshotIfCurrentRequest{RuntimeId: &runtimeID}
		if version != nil {
			request.Expected = &pb.ClearSessionSnapshotIfCurrentRequest_Version{Version: *version}
		} else {
			request.Expected = &pb.ClearSessionSnapshotIfCurrentRequest_Sha256{Sha256: sha256}
		}
		response, err := mutate(ctx, s.client, call, "ClearSessionSnapshotIfCurrent", request, s.conn.rpc.ClearSessionSnapshotIfCurrent)
		done = Committed{Version(response.GetVersion()), response.GetReplayed()}
		if !response.GetCleared() {
			done = Committed{}
		}
		return done.Version, err
	})
	done, err = resultOf(done, err)
	if done.Version != "" {
		s.deltas.documents.forget(sessionKind, runtimeID)
	}
	return done, done.Version != "", err
}

// maxUpdates is the largest number of attempts of one update.
const maxUpdates = 100

// UpdateSessionSnapshot loads the session snapshot, calls update, and stores its result if the snapshot is still the same. When another
// caller wrote in between, it calls update again with the newer snapshot, at most 100 times; then it fails with ErrVersionConflict.
// current is nil when none is stored. A nil result of update changes nothing. An error of update is returned as it is. update must keep
// no state between its calls, and must not change the bytes of current. The deadline of ctx holds for all attempts together.
func (s *Store) UpdateSessionSnapshot(
	ctx context.Context, runtimeID string, update func(current *Snapshot) (*Document, error), conditions ...Expectation,
) (Committed, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	store := s.WithExpectations(conditions...)
	for attempt := range maxUpdates {
		current, err := store.LoadSessionSnapshot(ctx, runtimeID)
		if err != nil {
			return Committed{}, err
		}
		next, err := update(current)
		if err != nil || next == nil {
			return Committed{}, err
		}
		done, isDone, err := store.replaceLoaded(ctx, runtimeID, current, next)
		if err != nil || isDone {
			return done, err
		}
		pause(ctx, rand.N(time.Duration(1+min(50, attempt))*time.Millisecond))
	}
	e := failed(true, ErrVersionConflict, "the session snapshot changed during each of 100 attempts to update it; call again")
	e.RuntimeID, e.Record = &runtimeID, "session_snapshot"
	return Committed{}, e
}

// replaceLoaded stores a document if the loaded snapshot, or none, is still stored.
func (s *Store) replaceLoaded(ctx context.Context, runtimeID string, current *Snapshot, next *Document) (Committed, bool, error) {
	if current != nil {
		return s.ReplaceSessionSnapshotIfCurrent(ctx, runtimeID, SnapshotVersion(current.Version), next)
	}
	done, err := s.CommitSessionSnapshot(ctx, runtimeID, next, ExpectAbsent(sessionKind))
	var e *Error
	if errors.As(err, &e) && e.Reason == ErrVersionConflict && e.Record == "session_snapshot" {
		return done, false, nil
	}
	return done, err == nil, err
}
