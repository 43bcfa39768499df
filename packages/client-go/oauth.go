package bolthole

import (
	"context"
	"math/rand/v2"
	"time"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// PersistAuthOauthFlowSnapshot replaces the OAuth flow state of the store unconditionally: one value of at most 1 MiB that the store does
// not interpret.
func (s *Store) PersistAuthOauthFlowSnapshot(ctx context.Context, snapshot []byte, opts ...CallOption) (Committed, error) {
	call, err := s.call(opts)
	if err != nil {
		return Committed{}, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.PersistAuthOauthFlowSnapshotRequest{Snapshot: snapshot}
	response, err := mutate(ctx, s.client, call, "PersistAuthOauthFlowSnapshot", request, s.conn.rpc.PersistAuthOauthFlowSnapshot)
	if err != nil {
		return Committed{}, err
	}
	return Committed{Version(response.GetVersion()), response.GetReplayed()}, nil
}

// LoadAuthOauthFlowSnapshot returns the OAuth flow state of the store, or nil when none is stored.
func (s *Store) LoadAuthOauthFlowSnapshot(ctx context.Context) (*Loaded[[]byte], error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.LoadAuthOauthFlowSnapshotRequest{}
	response, err := unary(ctx, s.conn, "LoadAuthOauthFlowSnapshot", "", request, s.conn.rpc.LoadAuthOauthFlowSnapshot)
	if err != nil || response.Snapshot == nil {
		return nil, err
	}
	return loaded(response.GetSnapshot(), response.GetVersion()), nil
}

// ReplaceAuthOauthFlowSnapshotIfCurrent replaces the OAuth flow state if it has the expected version, and returns whether it did. An empty
// expected version means that none must be stored. When it did not, current is the stored state, or nil when none is stored.
func (s *Store) ReplaceAuthOauthFlowSnapshotIfCurrent(
	ctx context.Context, expected Version, snapshot []byte, opts ...CallOption,
) (done Committed, replaced bool, current *Loaded[[]byte], err error) {
	call, err := s.call(opts)
	if err != nil {
		return done, false, nil, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.UpdateAuthOauthFlowSnapshotRequest{
		Snapshot: snapshot, Expected: &pb.UpdateAuthOauthFlowSnapshotRequest_Version{Version: string(expected)},
	}
	if expected == "" {
		request.Expected = &pb.UpdateAuthOauthFlowSnapshotRequest_Absent{Absent: true}
	}
	response, err := mutate(ctx, s.client, call, "UpdateAuthOauthFlowSnapshot", request, s.conn.rpc.UpdateAuthOauthFlowSnapshot)
	switch {
	case err != nil:
		return done, false, nil, err
	case response.GetUpdated():
		return Committed{Version(response.GetVersion()), response.GetReplayed()}, true, nil, nil
	case response.Current != nil:
		current = loaded(response.GetCurrent(), response.GetVersion())
	}
	return done, false, current, nil
}

// UpdateAuthOauthFlowSnapshot loads the OAuth flow state, calls update, and stores its result if the state is still the same. When another
// caller wrote in between, it calls update again with the newer state, at most 100 times; then it fails with ErrVersionConflict. current is
// nil when none is stored. update must keep no state between its calls. An error of update is returned as it is, and nothing is written.
// The deadline of ctx holds for all attempts together.
func (s *Store) UpdateAuthOauthFlowSnapshot(ctx context.Context, update func(current []byte) ([]byte, error)) (Committed, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	current, err := s.LoadAuthOauthFlowSnapshot(ctx)
	if err != nil {
		return Committed{}, err
	}
	for attempt := range maxUpdates {
		var value []byte
		var version Version
		if current != nil {
			value, version = current.Value, current.Version
		}
		next, err := update(value)
		if err != nil {
			return Committed{}, err
		}
		done, isDone, newer, err := s.ReplaceAuthOauthFlowSnapshotIfCurrent(ctx, version, next)
		if err != nil || isDone {
			return done, err
		}
		current = newer
		pause(ctx, rand.N(time.Duration(1+min(50, attempt))*time.Millisecond))
	}
	e := failed(true, ErrVersionConflict, "the OAuth flow snapshot changed during each of 100 attempts to update it; call again")
	e.Record = "auth_oauth_flow_snapshot"
	return Committed{}, e
}
