package bolthole

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

const (
	// windowBytes is the initial window of a stream and of the connection: with the default of 64 KiB, a load of a long document
	// takes half as long again.
	windowBytes = 1 << 20
	// expectedStoreKey is the metadata with the id of the store that a call without the field expected_store_id expects.
	expectedStoreKey = "bolthole-expected-store-id"
	storeService     = "/bolthole.v1.RuntimeStoreService/"
)

// connection is one gRPC channel to a daemon, with deadlines, cancellation and retries. Every failed call returns an *Error.
type connection struct {
	target  target
	options *options
	channel *grpc.ClientConn
	rpc     pb.RuntimeStoreServiceClient

	// outgoing is the metadata of each call. It has the token, so it is in no text.
	outgoing metadata.MD
	// maxRequestBytes is the limit of a request: a larger one would be refused by gRPC, without the daemon's error details, so
	// that the outcome would be unknown.
	maxRequestBytes int
	// foreign is the refusal of the last connection to a socket of another user.
	foreign atomic.Pointer[foreignSocketError]

	// closing ends when Close is called.
	closing context.Context
	close   context.CancelFunc
	mu      sync.Mutex
	// inFlight is the number of calls that were sent and still get their response after Close.
	inFlight int
	released bool
}

func newConnection(o *options) (*connection, error) {
	c := &connection{target: o.target, options: o, maxRequestBytes: o.maxMessageBytes, outgoing: metadata.MD{}}
	c.closing, c.close = context.WithCancel(context.Background())
	if o.token != "" {
		c.outgoing.Set("authorization", "Bearer "+o.token)
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The path of a unix socket is not a valid host name.
		grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(o.maxMessageBytes), grpc.MaxCallSendMsgSize(o.maxMessageBytes)),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		// Without pings, every call on a dead connection would wait until its deadline.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: o.keepAlive, Timeout: o.keepAlive}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: maxPause / 10, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxPause},
			MinConnectTimeout: o.keepAlive,
		}),
		grpc.WithIdleTimeout(0),
		// Only our own retries repeat the request id; and two layers of retries would multiply the attempts.
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
	}
	address := "dns:///" + net.JoinHostPort(o.target.host, o.target.port)
	if o.target.isLocal() {
		address = "passthrough:///bolthole"
		dial = append(dial, grpc.WithNoProxy(), grpc.WithContextDialer(c.dialLocal))
	}
	channel, err := grpc.NewClient(address, dial...)
	if err != nil {
		return nil, fmt.Errorf("bolthole: the target %s cannot be used: %w", o.target.address, err)
	}
	c.channel, c.rpc = channel, pb.NewRuntimeStoreServiceClient(channel)
	return c, nil
}

// dialLocal makes a connection. It refuses one to the socket of another user, before anything is sent.
func (c *connection) dialLocal(ctx context.Context, _ string) (net.Conn, error) {
	if c.target.socket == "" {
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(c.target.host, c.target.port))
	}
	made, err := new(net.Dialer).DialContext(ctx, "unix", c.target.socket)
	if err != nil {
		c.foreign.Store(nil)
		return nil, err
	}
	err = refuseForeignPeer(made, c.target.socket, c.options.socketOwner)
	var foreign *foreignSocketError
	errors.As(err, &foreign)
	c.foreign.Store(foreign)
	if err != nil {
		_ = made.Close()
		return nil, err
	}
	return made, nil
}

// limitRequests limits the size of requests to that of the daemon.
func (c *connection) limitRequests(bytes uint64) {
	if bytes > 0 && bytes < uint64(c.maxRequestBytes) {
		c.maxRequestBytes = int(bytes)
	}
}

// expectStore makes the daemon refuse loads when it serves another store than this one.
func (c *connection) expectStore(id string) { c.outgoing.Set(expectedStoreKey, id) }

// withDeadline returns a context that has the deadline of the caller or the default one.
func (c *connection) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.options.timeout)
}

const (
	closedText    = "this store was closed, so nothing was sent; connect again"
	cancelledText = "the call was cancelled; nothing was sent"
	passedText    = "the deadline of the call has passed; nothing was sent"
)

// refuseEnded fails when nothing more may be sent: after Close, and after a cancellation by the caller.
func (c *connection) refuseEnded(ctx context.Context, mutation bool) error {
	if c.closing.Err() != nil {
		return failed(mutation, ErrClosed, closedText)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return withCause(failed(mutation, ErrCancelled, cancelledText), context.Canceled)
	}
	return nil
}

func (c *connection) refuseTooLarge(request proto.Message, mutation bool) error {
	size := proto.Size(request)
	if size <= c.maxRequestBytes {
		return nil
	}
	e := failed(mutation, ErrTooLarge,
		fmt.Sprintf("request: %d bytes are more than the limit of %d; nothing was sent", size, c.maxRequestBytes))
	e.Record, e.Expected = "request", fmt.Sprintf("at most %d bytes", c.maxRequestBytes)
	e.Actual = fmt.Sprintf("%d bytes", size)
	return e
}

// connected waits until the channel is connected. No request is sent earlier, so a failure here means: not applied.
func (c *connection) connected(ctx context.Context, mutation bool) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(c.closing, stop)()
	for {
		if err := c.refuseEnded(ctx, mutation); err != nil {
			return err
		}
		state := c.channel.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			c.channel.Connect()
		case connectivity.Shutdown:
			return failed(mutation, ErrClosed, closedText)
		}
		if foreign := c.foreign.Load(); foreign != nil {
			return withCause(
				failed(mutation, ErrUnauthenticated, "no connection was made: "+foreign.problem+"; nothing was sent"), foreign)
		}
		if c.channel.WaitForStateChange(waiting, state) {
			continue
		}
		if err := c.refuseEnded(ctx, mutation); err != nil {
			return err
		}
		text := "no connection was made before the deadline; " + c.target.connectionProblem() + "; nothing was sent"
		return withCause(failed(mutation, ErrUnavailable, text), context.DeadlineExceeded)
	}
}

// retried makes the attempts of one call. requestID is the one inside of the request of a mutation, and empty otherwise.
func (c *connection) retried(ctx context.Context, requestID string, mutation bool, attempt func(context.Context) error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return withCause(failed(mutation, ErrDeadlineExceeded, passedText), context.DeadlineExceeded)
	}
	return callWithRetries(ctx, retriedCall{
		requestID: requestID,
		connect:   func(ctx context.Context) error { return c.connected(ctx, mutation) },
		attempt: func(ctx context.Context) error {
			if !c.begin() {
				return failed(mutation, ErrClosed, closedText)
			}
			defer c.end()
			return attempt(metadata.NewOutgoingContext(ctx, c.outgoing))
		},
	})
}

// begin counts a call that is about to be sent. It returns false after Close.
func (c *connection) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		return false
	}
	c.inFlight++
	return true
}

// end counts a call that has its response. The last one after Close closes the channel.
func (c *connection) end() {
	c.mu.Lock()
	c.inFlight--
	c.releaseLocked()
}

// shut sends nothing more. A call that was sent still gets its response.
func (c *connection) shut() {
	c.mu.Lock()
	c.close()
	c.releaseLocked()
}

// releaseLocked closes the channel when it is not used any more, and unlocks.
func (c *connection) releaseLocked() {
	isLast := c.inFlight == 0 && c.closing.Err() != nil && !c.released
	if isLast {
		c.released = true
	}
	c.mu.Unlock()
	if isLast {
		_ = c.channel.Close()
	}
}

// unary sends one request and returns its response, with retries until the deadline.
func unary[I, O proto.Message](
	ctx context.Context, c *connection, method, requestID string, request I,
	send func(context.Context, I, ...grpc.CallOption) (O, error),
) (O, error) {
	mutation := requestID != ""
	var response O
	if err := c.refuseTooLarge(request, mutation); err != nil {
		return response, err
	}
	facts := callFacts{method: method, address: c.target.address, mutation: mutation}
	err := c.retried(ctx, requestID, mutation, func(ctx context.Context) error {
		received, err := send(ctx, request)
		if err != nil {
			return attemptError(ctx, err, facts)
		}
		response = received
		return nil
	})
	return response, err
}
