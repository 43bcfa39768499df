package bolthole

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	firstPause = 10 * time.Millisecond
	// maxPause is the longest pause between two attempts, also between two attempts to connect.
	maxPause = 500 * time.Millisecond
)

// reportedImmediately are reasons that allow a retry but end the call: the caller ended it, or an operator has to free space.
var reportedImmediately = map[Reason]bool{ErrCancelled: true, ErrDiskFull: true, ErrQuota: true}

// mayBeApplied are reasons of the daemon after which a request may have been applied.
var mayBeApplied = map[Reason]bool{
	ErrUnavailable: true, ErrDeadlineExceeded: true, ErrCancelled: true, ErrOutcomeUnknown: true,
}

// refusedAgain are statuses with which gRPC, a proxy or another server would refuse the same request again.
var refusedAgain = map[codes.Code]bool{
	codes.InvalidArgument: true, codes.NotFound: true, codes.PermissionDenied: true, codes.Unauthenticated: true,
	codes.Unimplemented: true,
}

// retriedCall is one call that may need several attempts. Its context has the deadline of all of them.
type retriedCall struct {
	// requestID is the request id of a mutation, the same in every attempt. Empty: the call changes nothing.
	requestID string
	// connect waits for a connection. Nothing has been sent when it fails. It also fails when the caller ended the call.
	connect func(context.Context) error
	// attempt sends the request once. It fails with an *Error of the store, with a *lostError, or with an error of the
	// caller's own source.
	attempt func(context.Context) error
	// sleep pauses between two attempts. Nil: a timer that ends with the context.
	sleep func(context.Context, time.Duration)
}

// callWithRetries makes attempts until one succeeds, the context ends, or a failure does not allow a retry.
//
// A failure allows a retry when its Retry is RetrySameRequest, and for a mutation also when the response was lost. This is safe
// because every attempt has the same request id, and the daemon applies a request id once.
//
// It returns the last failure. But when the response of a mutation was lost, only a refusal that the store makes after it looked
// for the outcome of the request id is final. Otherwise the error is ErrOutcomeUnknown: a later attempt that was postponed
// (ErrBusy) or refused for another cause proves nothing about the lost one.
func callWithRetries(ctx context.Context, call retriedCall) error {
	sleep := call.sleep
	if sleep == nil {
		sleep = pause
	}
	isMutation := call.requestID != ""
	var lost *Error
	for longest := firstPause; ; longest = min(longest*2, maxPause) {
		err := call.connect(ctx)
		isSent := err == nil
		if isSent {
			err = call.attempt(ctx)
		}
		if err == nil {
			return nil
		}
		var lostNow *lostError
		var failure *Error
		isLost := errors.As(err, &lostNow)
		if isLost {
			failure = lostNow.failure
		} else if !errors.As(err, &failure) {
			// An error of the caller's own source says nothing about the store.
			return err
		}
		mayRetry := failure.Retry == RetrySameRequest && !reportedImmediately[failure.Reason]
		if isLost && isMutation {
			mayRetry = !refusedAgain[lostNow.code] && failure.Reason != ErrCancelled
		}
		if isLost || (isSent && mayBeApplied[failure.Reason]) {
			lost = failure
		}
		end := failure
		if lost != nil && isMutation && !reasons[failure.Reason].afterLookup {
			end = outcomeUnknown(call.requestID, lost)
		}
		// Random, so that the clients of a daemon do not all retry at the same moment.
		wait := longest/2 + rand.N(longest/2)
		if !mayRetry || isOver(ctx, wait) {
			return end
		}
		sleep(ctx, wait)
		// A pause may take longer than planned. Nothing is sent after the deadline. A cancellation is handled by connect.
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return end
		}
	}
}

func isOver(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || (ok && time.Until(deadline) <= wait)
}

func pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// outcomeUnknown returns the error of a mutation whose outcome is unknown.
func outcomeUnknown(requestID string, lost *Error) *Error {
	text := "expected a response to request " + requestID + ", but it was lost (" + lost.Text + "). The change may have been " +
		"applied: repeat the call with this request id, or call GetCommit with it"
	if lost.Reason == ErrOutcomeUnknown {
		// The daemon's own error of this kind says what to do already.
		text = "request " + requestID + ": " + lost.Text
	}
	e := withCause(newError(WriteFailed, ErrOutcomeUnknown, text), lost)
	e.RequestID = requestID
	return e
}
