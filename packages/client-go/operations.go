package bolthole

import (
	"context"
	"errors"
	"hash/crc32"
	"io"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

const opsKind = pb.RecordKind_RECORD_KIND_OPS_LIFECYCLE

// PersistOpsLifecycle replaces the operation snapshot of a runtime by a message of at most Limits.typed_ops_snapshot_bytes (1 MiB by
// default, in its JSON). A larger snapshot is stored with PersistOpsLifecycleJSON.
func (s *Store) PersistOpsLifecycle(
	ctx context.Context, runtimeID string, snapshot *pb.PersistedOpsSnapshot, opts ...CallOption,
) (Committed, error) {
	return s.persistOps(ctx, runtimeID, opts, func(ctx context.Context, persist persistOps, _ callOptions) error {
		_, err := persist(&pb.PersistOpsLifecycleRequest{RuntimeId: &runtimeID, Snapshot: snapshot})
		if err == nil {
			s.deltas.documents.forget(opsKind, runtimeID)
		}
		return err
	})
}

// PersistOpsLifecycleJSON replaces the operation snapshot of a runtime by its JSON (docs/contract.md, 6), of at most
// Limits.operation_snapshot_bytes. The store keeps the bytes as they are, also members that it does not know. Only what changed since
// the last snapshot is sent.
func (s *Store) PersistOpsLifecycleJSON(ctx context.Context, runtimeID string, json []byte, opts ...CallOption) (Committed, error) {
	if err := refuseLargeOps(len(json), s.deltas.operationSnapshotBytes); err != nil {
		return Committed{}, err
	}
	return s.persistOps(ctx, runtimeID, opts, func(ctx context.Context, persist persistOps, call callOptions) error {
		return s.sendWhole(ctx, documentCall{runtimeID, call.requestID, opsKind, json, func(form content) (Version, error) {
			return persist(&pb.PersistOpsLifecycleRequest{RuntimeId: &runtimeID, OpsDelta: form.opsDelta()})
		}})
	})
}

// PersistOpsLifecycleUpload replaces the operation snapshot of a runtime by an upload of UploadOpsLifecycle.
func (s *Store) PersistOpsLifecycleUpload(ctx context.Context, runtimeID, uploadID string, opts ...CallOption) (Committed, error) {
	return s.persistOps(ctx, runtimeID, opts, func(ctx context.Context, persist persistOps, _ callOptions) error {
		_, err := persist(&pb.PersistOpsLifecycleRequest{RuntimeId: &runtimeID, OpsDelta: content{uploadID: uploadID}.opsDelta()})
		if err == nil {
			s.deltas.documents.forget(opsKind, runtimeID)
		}
		return err
	})
}

type persistOps func(*pb.PersistOpsLifecycleRequest) (Version, error)

func (s *Store) persistOps(
	ctx context.Context, runtimeID string, opts []CallOption, send func(context.Context, persistOps, callOptions) error,
) (Committed, error) {
	var done Committed
	call, err := s.call(opts)
	if err != nil {
		return done, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	err = send(ctx, func(request *pb.PersistOpsLifecycleRequest) (Version, error) {
		response, err := mutate(ctx, s.client, call, "PersistOpsLifecycle", request, s.conn.rpc.PersistOpsLifecycle)
		done = Committed{Version(response.GetVersion()), response.GetReplayed()}
		return done.Version, err
	}, call)
	return resultOf(done, err)
}

// LoadOpsLifecycle returns the operation snapshot of a runtime as a message, or nil when none is stored. It fails with ErrTooLarge for
// one above Limits.typed_ops_snapshot_bytes: load its JSON.
func (s *Store) LoadOpsLifecycle(ctx context.Context, runtimeID string) (*Loaded[*pb.PersistedOpsSnapshot], error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.LoadOpsLifecycleRequest{RuntimeId: &runtimeID}
	response, err := unary(ctx, s.conn, "LoadOpsLifecycle", "", request, s.conn.rpc.LoadOpsLifecycle)
	if err != nil || response.GetSnapshot() == nil {
		return nil, err
	}
	return loaded(response.GetSnapshot(), response.GetVersion()), nil
}

// LoadOpsLifecycleJSON returns the JSON of the operation snapshot of a runtime with exactly the stored bytes, or nil when none is stored.
// Do not change the bytes: the client keeps them.
func (s *Store) LoadOpsLifecycleJSON(ctx context.Context, runtimeID string) (*Loaded[[]byte], error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	before := s.deltas.documents.get(opsKind, runtimeID)
	reader, err := s.openOps(ctx, runtimeID)
	if err != nil || reader == nil {
		if err == nil {
			s.deltas.documents.forget(opsKind, runtimeID)
		}
		return nil, err
	}
	data, err := wholeDocument(reader)
	if err != nil {
		return nil, err
	}
	s.deltas.documents.putLoaded(opsKind, runtimeID, before, &cachedDocument{reader.Version, data, crc32.ChecksumIEEE(data)})
	return &Loaded[[]byte]{data, reader.Version}, nil
}

// OpenOpsLifecycleJSON returns a reader of the JSON of the operation snapshot of a runtime, or nil when none is stored. The deadline of
// ctx holds for the whole load. Close the reader.
func (s *Store) OpenOpsLifecycleJSON(ctx context.Context, runtimeID string) (*DocumentReader, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	reader, err := s.openOps(ctx, runtimeID)
	return ownContext(reader, stop), err
}

func (s *Store) openOps(ctx context.Context, runtimeID string) (*DocumentReader, error) {
	request := &pb.LoadOpsLifecycleJsonRequest{RuntimeId: &runtimeID}
	stream, err := openStream(ctx, s.conn, "LoadOpsLifecycleJson", request, s.conn.rpc.LoadOpsLifecycleJson)
	if err != nil {
		return nil, err
	}
	first, err := stream.next()
	if errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &DocumentReader{
		Version: Version(first.GetInfo().GetVersion()), Length: int64(first.GetInfo().GetLength()),
		pending: first.GetChunk(), stop: stream.close,
		next: func() ([]byte, error) {
			message, err := stream.next()
			return message.GetChunk(), err
		},
	}, nil
}

// DeleteOpsLifecycle deletes the operation snapshot of a runtime. Without a stored one, nothing changes.
func (s *Store) DeleteOpsLifecycle(ctx context.Context, runtimeID string, opts ...CallOption) (Committed, error) {
	call, err := s.call(opts)
	if err != nil {
		return Committed{}, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.DeleteOpsLifecycleRequest{RuntimeId: &runtimeID}
	response, err := mutate(ctx, s.client, call, "DeleteOpsLifecycle", request, s.conn.rpc.DeleteOpsLifecycle)
	if err != nil {
		return Committed{}, err
	}
	s.deltas.documents.forget(opsKind, runtimeID)
	return Committed{Version(response.GetVersion()), response.GetReplayed()}, nil
}
