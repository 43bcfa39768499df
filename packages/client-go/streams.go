package bolthole

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// messages are those of a streamed response. Its first message has arrived.
type messages[O any] struct {
	c     *connection
	ctx   context.Context
	stop  context.CancelFunc
	facts callFacts
	first *O
	rest  grpc.ServerStreamingClient[O]
	err   error
	ended bool
}

// openStream sends a request. It is retried until the first message has arrived; a later failure ends the stream.
func openStream[I proto.Message, O any](
	ctx context.Context, c *connection, method string, request I,
	open func(context.Context, I, ...grpc.CallOption) (grpc.ServerStreamingClient[O], error),
) (*messages[O], error) {
	if err := c.refuseTooLarge(request, false); err != nil {
		return nil, err
	}
	facts := callFacts{method: method, address: c.target.address}
	var found *messages[O]
	err := c.retried(ctx, "", false, func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		opened, err := open(ctx, request)
		var first *O
		if err == nil {
			first, err = opened.Recv()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			defer stop()
			return attemptError(ctx, err, facts)
		}
		if !c.begin() {
			defer stop()
			return failed(false, ErrClosed, closedText)
		}
		facts.hasBegun = true
		found = &messages[O]{c: c, ctx: ctx, stop: stop, facts: facts, first: first, rest: opened, err: err}
		return nil
	})
	return found, err
}

// next returns the next message, or io.EOF at the end.
func (m *messages[O]) next() (*O, error) {
	if first := m.first; first != nil {
		m.first = nil
		return first, nil
	}
	if m.err == nil {
		var received *O
		received, m.err = m.rest.Recv()
		if m.err == nil {
			return received, nil
		}
		if !errors.Is(m.err, io.EOF) {
			err := attemptError(m.ctx, m.err, m.facts)
			var lost *lostError
			if errors.As(err, &lost) {
				err = lost.failure
			}
			m.err = err
		}
	}
	m.close()
	return nil, m.err
}

// close ends the stream. It may be called at any time, and more than once.
func (m *messages[O]) close() {
	if m.ended {
		return
	}
	m.ended = true
	m.stop()
	if m.err == nil {
		m.err = failed(false, ErrCancelled, "the stream was closed before its end")
	}
	m.c.end()
}

var errResponded = errors.New("the daemon responded before the end of the upload")

// upload sends a request in parts and returns its response. An upload alone changes no record, so it is retried like a load, but
// only when isRepeatable, that is, when parts can be called again. An error of parts ends the upload and is returned as it is.
func upload[I, O any](
	ctx context.Context, c *connection, method string, isRepeatable bool,
	open func(context.Context, ...grpc.CallOption) (grpc.ClientStreamingClient[I, O], error),
	parts func(send func(*I) error) error,
) (*O, error) {
	facts := callFacts{method: method, address: c.target.address, mutation: true}
	var response *O
	attempt := func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		stream, err := open(ctx)
		if err != nil {
			return attemptError(ctx, err, facts)
		}
		err = parts(func(part *I) error {
			if stream.Send(part) != nil {
				// The response has the reason.
				return errResponded
			}
			return nil
		})
		if err != nil && !errors.Is(err, errResponded) {
			return err
		}
		received, err := stream.CloseAndRecv()
		if err != nil {
			return attemptError(ctx, err, facts)
		}
		response = received
		return nil
	}
	if isRepeatable {
		err := c.retried(ctx, "", true, attempt)
		return response, err
	}
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return nil, withCause(failed(true, ErrDeadlineExceeded, passedText), err)
	}
	if err := c.connected(ctx, true); err != nil {
		return nil, err
	}
	if !c.begin() {
		return nil, failed(true, ErrClosed, closedText)
	}
	defer c.end()
	err := attempt(metadata.NewOutgoingContext(ctx, c.outgoing))
	var lost *lostError
	if errors.As(err, &lost) {
		err = lost.failure
	}
	return response, err
}
