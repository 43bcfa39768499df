package bolthole

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// A Version is a text without meaning. Compare two versions for equality only.
type Version string

// A Store is the store of a daemon. Create it with Connect. It may be used by several goroutines at once.
type Store struct {
	*client
	expect expectations
}

// client is what all stores of one connection share.
type client struct {
	conn    *connection
	ids     *requestIDs
	storeID string
	deltas  *deltas
}

// Connect connects to a daemon and reads the id of its store. When the daemon later serves another store, for example after a
// restore, all calls of the returned store are refused with ErrStoreReplaced. Only GetServerInfo is answered.
//
// It fails with ErrUnavailable when there is no connection before the deadline of ctx, or within WithTimeout; the text says whether
// there is a socket, whether anybody listens, and what to start. It fails with ErrUnauthenticated when the token is missing or
// wrong, or when the socket belongs to another user. An option that cannot be used is an error of another type.
func Connect(ctx context.Context, opts ...Option) (*Store, error) {
	resolved, err := resolveOptions(opts)
	if err != nil {
		return nil, err
	}
	conn, err := newConnection(resolved)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, ids: newRequestIDs(systemClock{time.Now()})}
	s := &Store{client: c}
	info, err := s.GetServerInfo(ctx)
	if err != nil {
		conn.shut()
		return nil, err
	}
	conn.limitRequests(info.GetLimits().GetRequestBytes())
	conn.expectStore(info.GetStoreId())
	c.storeID = info.GetStoreId()
	c.deltas = newDeltas(info.GetLimits(), resolved)
	return s, nil
}

// Close closes the connection. The daemon keeps running. A call that was not sent yet, and every later call, fails with ErrClosed,
// and nothing is applied. A call that was sent still gets its response, and is not repeated. Close does not wait for running calls.
// A second Close does nothing. Its error is always nil.
func (s *Store) Close() error {
	s.conn.shut()
	return nil
}

// StoreID returns the UUID of the store that Connect found.
func (s *Store) StoreID() string { return s.storeID }

// AuthAuthorityKey returns the key under which callers may share OAuth authority: "bolthole:" followed by the store id.
func (s *Store) AuthAuthorityKey() string { return "bolthole:" + s.storeID }

// GetServerInfo returns the identity of the store that is served now, and all limits of the daemon. It also learns the times that
// request ids may have.
func (s *Store) GetServerInfo(ctx context.Context) (*pb.GetServerInfoResponse, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	info, err := unary(ctx, s.conn, "GetServerInfo", "", &pb.GetServerInfoRequest{}, s.conn.rpc.GetServerInfo)
	if err != nil {
		return nil, err
	}
	// A daemon of version 0.1 reports no times.
	if times := timesOf(info.GetRequestIdTimes()); times != nil {
		s.ids.learn(*times)
	}
	return info, nil
}

// The numbers of the fields that mutations share. A test of the contract compares them in all messages.
const (
	fieldRequestID     = 10
	fieldExpectedStore = 11
	fieldExpectedFence = 12
	fieldExpectedVers  = 13
)

// setMutation sets the fields that mutations share.
func setMutation(request proto.Message, requestID, storeID string, expect expectations) {
	message := request.ProtoReflect()
	fields := message.Descriptor().Fields()
	message.Set(fields.ByNumber(fieldRequestID), protoreflect.ValueOfString(requestID))
	message.Set(fields.ByNumber(fieldExpectedStore), protoreflect.ValueOfString(storeID))
	if fence := fields.ByNumber(fieldExpectedFence); fence != nil && expect.fence != nil {
		message.Set(fence, protoreflect.ValueOfUint64(*expect.fence))
	}
	versions := fields.ByNumber(fieldExpectedVers)
	if versions == nil {
		return
	}
	message.Clear(versions)
	for _, expected := range expect.versions {
		message.Mutable(versions).List().Append(protoreflect.ValueOfMessage(expected.ProtoReflect()))
	}
}

// mutate sends a mutation. When the time of a request id that was made here is refused, the request is sent once more under a new
// id with a time that the store accepts. The store refused the only copy of the first one: if an earlier copy could still be
// applied, the error would be ErrOutcomeUnknown.
func mutate[I, O proto.Message](
	ctx context.Context, c *client, call callOptions, method string, request I,
	send func(context.Context, I, ...grpc.CallOption) (O, error),
) (O, error) {
	once := func(requestID string) (O, error) {
		setMutation(request, requestID, c.storeID, call.expect)
		response, err := unary(ctx, c.conn, method, requestID, request, send)
		if times := refusedTimes(err); times != nil {
			c.ids.learn(*times)
		}
		return response, err
	}
	if call.requestID != "" {
		return once(call.requestID)
	}
	response, err := once(c.ids.next())
	if refusedTimes(err) == nil {
		return response, err
	}
	return once(c.ids.next())
}
