package bolthole

import (
	"context"
	"iter"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// listedRuntimes is the number of runtimes in one page: the largest that the daemon allows.
const listedRuntimes = 1000

// ListRuntimes yields the runtimes with at least one stored record, page by page, in a fixed order without meaning. An error is the last
// value. A context without a deadline gets the default one for each page.
func (s *Store) ListRuntimes(ctx context.Context) iter.Seq2[*pb.RuntimeSummary, error] {
	return func(yield func(*pb.RuntimeSummary, error) bool) {
		token := ""
		for {
			page, err := s.listPage(ctx, token)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, runtime := range page.GetRuntimes() {
				if !yield(runtime, nil) {
					return
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				return
			}
		}
	}
}

func (s *Store) listPage(ctx context.Context, token string) (*pb.ListRuntimesResponse, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	request := &pb.ListRuntimesRequest{PageSize: listedRuntimes, PageToken: token}
	return unary(ctx, s.conn, "ListRuntimes", "", request, s.conn.rpc.ListRuntimes)
}

// DeleteRuntime deletes everything that is stored for a runtime, damaged or not, and returns what that was. A runtime that is not stored
// has nothing to delete, which is no error.
func (s *Store) DeleteRuntime(ctx context.Context, runtimeID string, opts ...CallOption) (*pb.DeleteRuntimeResponse, error) {
	call, err := s.call(opts)
	if err != nil {
		return nil, err
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	response, err := mutate(ctx, s.client, call, "DeleteRuntime", &pb.DeleteRuntimeRequest{RuntimeId: &runtimeID}, s.conn.rpc.DeleteRuntime)
	if err != nil {
		return nil, err
	}
	s.deltas.documents.forget(sessionKind, runtimeID)
	s.deltas.documents.forget(opsKind, runtimeID)
	s.deltas.rows.forget(runtimeID)
	return response, nil
}

// GetCommit returns the state of a request id, for example after ErrOutcomeUnknown. COMMIT_STATE_APPLIED and COMMIT_STATE_EXPIRED are
// final. After COMMIT_STATE_NOT_FOUND, a copy of the request that is still in the network may be applied later: SealCommit excludes that.
func (s *Store) GetCommit(ctx context.Context, requestID string) (*pb.GetCommitResponse, error) {
	return s.getCommit(ctx, requestID, false)
}

// SealCommit returns the state of a request id, which is final unless it is COMMIT_STATE_PENDING. A request that is not applied is sealed: it can never be
// applied later.
func (s *Store) SealCommit(ctx context.Context, requestID string) (*pb.GetCommitResponse, error) {
	return s.getCommit(ctx, requestID, true)
}

func (s *Store) getCommit(ctx context.Context, requestID string, seal bool) (*pb.GetCommitResponse, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	return unary(ctx, s.conn, "GetCommit", "", &pb.GetCommitRequest{RequestId: requestID, Seal: seal}, s.conn.rpc.GetCommit)
}
