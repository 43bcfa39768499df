package bolthole

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// A Variant is the reference's name of a failure. It is coarser than a Reason.
type Variant string

// The variants of the reference. The texts are the first words of the messages.
const (
	WriteFailed                Variant = "Store write failed"
	ReadFailed                 Variant = "Store read failed"
	SessionKeyMismatch         Variant = "Session store key mismatch"
	NotFound                   Variant = "Not found"
	Unsupported                Variant = "Unsupported store operation"
	TranscriptRevisionConflict Variant = "Transcript revision conflict"
	Internal                   Variant = "Internal error"
)

// Applied says whether a failed call changed anything.
type Applied string

// The values of Applied.
const (
	AppliedNo      Applied = "no"
	AppliedYes     Applied = "yes"
	AppliedUnknown Applied = "unknown"
)

// Retry says whether and how a call may be repeated.
type Retry string

// The values of Retry.
const (
	// RetryNever: the same call would be refused again.
	RetryNever Retry = "never"
	// RetrySameRequest: the same call may be sent again with the same request id.
	RetrySameRequest Retry = "same_request"
	// RetryAfterReload: load first, decide again, and send a new request.
	RetryAfterReload Retry = "after_reload"
)

// Error is the error of every call of a Store. Decide by Reason, or with errors.Is(err, bolthole.ErrBusy), never by the text.
//
//	var failure *bolthole.Error
//	if errors.As(err, &failure) && failure.Applied == bolthole.AppliedUnknown { ... }
type Error struct {
	Variant Variant
	Reason  Reason
	// Applied says whether the failed call changed anything.
	Applied Applied
	// Retry says whether the same call can succeed later. The client has then already retried within the deadline.
	Retry Retry
	// Text is the message without the words of the variant.
	Text string
	// RuntimeID is the id of the runtime, or nil when the error is not about one runtime.
	RuntimeID *string
	// Record is the record or the path of the request field, such as input_updates[3].created_at. It may be empty.
	Record string
	// Expected is the value or limit that was expected. It may be empty.
	Expected string
	// Actual is the value that was found instead. It may be empty.
	Actual string
	// Truncated says that the daemon cut a long text of this error.
	Truncated bool
	// Identical says with ErrReceiptExists whether the stored receipt equals the refused one. Otherwise it is nil.
	Identical *bool
	// RequestIDTimes has the times that a request id may have, when the time of one was refused.
	RequestIDTimes *RequestIDTimes
	// RequestID is with ErrOutcomeUnknown the id that the lost request had. Otherwise it is empty.
	RequestID string
	// RetryAfter is the shortest pause before the same request is sent again, as the daemon gave it, or 0.
	RetryAfter time.Duration

	cause error
}

// RequestIDTimes has the times that a new request id may have, in milliseconds since the Unix epoch.
type RequestIDTimes struct {
	// HorizonMS is the horizon. An id with an earlier time is refused with ErrRequestIDExpired.
	HorizonMS uint64
	// StoreTimeMS is the present time as the store knows it.
	StoreTimeMS uint64
	// LatestMS is the latest time of a new id.
	LatestMS uint64
}

// Error returns the message: the words of the variant, the text, and the reason in brackets.
func (e *Error) Error() string {
	return string(e.Variant) + ": " + e.Text + " [" + string(e.Reason) + "]"
}

// Is says whether target is the reason of the error.
func (e *Error) Is(target error) bool {
	reason, ok := target.(Reason)
	return ok && reason == e.Reason
}

// Unwrap returns the error that caused this one, or nil. It is context.Canceled or context.DeadlineExceeded after the end of
// a context.
func (e *Error) Unwrap() error { return e.cause }

// newError returns an error with the facts of its reason.
func newError(variant Variant, reason Reason, text string) *Error {
	facts := reasons[reason]
	return &Error{Variant: variant, Reason: reason, Applied: facts.applied, Retry: facts.retry, Text: text}
}

// failed returns the error of a mutation or of a load.
func failed(mutation bool, reason Reason, text string) *Error {
	if mutation {
		return newError(WriteFailed, reason, text)
	}
	return newError(ReadFailed, reason, text)
}

// invalidArgument returns the error of a wrong argument, before anything is sent.
func invalidArgument(mutation bool, record, expected, actual string) *Error {
	e := failed(mutation, ErrInvalidArgument, record+": expected "+expected+", found "+actual+"; nothing was sent")
	e.Record, e.Expected, e.Actual = record, expected, actual
	return e
}

func withCause(e *Error, cause error) *Error {
	e.cause = cause
	return e
}

// isReason says whether an error of this package has the reason.
func isReason(err error, reason Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == reason
}

// refusedTimes returns the times that the store accepts, if it refused the time of a request id.
func refusedTimes(err error) *RequestIDTimes {
	var e *Error
	if errors.As(err, &e) {
		return e.RequestIDTimes
	}
	return nil
}

var variantsOnWire = map[pb.StoreErrorVariant]Variant{
	pb.StoreErrorVariant_STORE_ERROR_VARIANT_WRITE_FAILED:                 WriteFailed,
	pb.StoreErrorVariant_STORE_ERROR_VARIANT_READ_FAILED:                  ReadFailed,
	pb.StoreErrorVariant_STORE_ERROR_VARIANT_SESSION_KEY_MISMATCH:         SessionKeyMismatch,
	pb.StoreErrorVariant_STORE_ERROR_VARIANT_NOT_FOUND:                    NotFound,
	pb.StoreErrorVariant_STORE_ERROR_VARIANT_UNSUPPORTED:                  Unsupported,
	pb.StoreErrorVariant_STORE_ERROR_VARIANT_TRANSCRIPT_REVISION_CONFLICT: TranscriptRevisionConflict,
	pb.StoreErrorVariant_STORE_ERROR_VARIANT_INTERNAL:                     Internal,
}

var appliedOnWire = map[pb.Applied]Applied{
	pb.Applied_APPLIED_NO:      AppliedNo,
	pb.Applied_APPLIED_YES:     AppliedYes,
	pb.Applied_APPLIED_UNKNOWN: AppliedUnknown,
}

var retryOnWire = map[pb.Retry]Retry{
	pb.Retry_RETRY_NEVER:        RetryNever,
	pb.Retry_RETRY_SAME_REQUEST: RetrySameRequest,
	pb.Retry_RETRY_AFTER_RELOAD: RetryAfterReload,
}

// carriedError returns the daemon's own error in the details of a status, or nil when the status carries none.
func carriedError(st *status.Status) *Error {
	var found *Error
	var retryAfter time.Duration
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *pb.StoreErrorDetail:
			found = detailError(detail, st.Message())
		case *errdetails.RetryInfo:
			retryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	if found != nil {
		found.RetryAfter = retryAfter
	}
	return found
}

// detailError returns the error of its message and its details, or nil when the details name no reason.
func detailError(detail *pb.StoreErrorDetail, message string) *Error {
	variant, known := variantsOnWire[detail.GetVariant()]
	reason := Reason(detail.GetReason())
	if !known || reason == "" {
		return nil
	}
	e := newError(variant, reason, strings.TrimPrefix(message, string(variant)+": "))
	if applied, ok := appliedOnWire[detail.GetApplied()]; ok {
		e.Applied = applied
	}
	if retry, ok := retryOnWire[detail.GetRetry()]; ok {
		e.Retry = retry
	}
	if e.Applied == "" {
		e.Applied = AppliedUnknown
	}
	if e.Retry == "" {
		e.Retry = RetryNever
	}
	e.RuntimeID, e.Identical = detail.RuntimeId, detail.Identical
	e.Record, e.Expected, e.Actual = detail.GetRecord(), detail.GetExpected(), detail.GetActual()
	e.Truncated = detail.GetTruncated()
	e.RequestIDTimes = timesOf(detail.GetRequestIdTimes())
	return e
}

func timesOf(times *pb.RequestIdTimes) *RequestIDTimes {
	if times == nil {
		return nil
	}
	return &RequestIDTimes{times.GetHorizonMs(), times.GetStoreTimeMs(), times.GetLatestMs()}
}

// callFacts has what the errors of a call name.
type callFacts struct {
	// method is the name of the RPC.
	method   string
	address  string
	mutation bool
	// hasBegun says that a part of the response has arrived.
	hasBegun bool
}

// lostError is the error of an attempt whose request was sent, and to which the store itself returned nothing that arrived.
type lostError struct {
	failure *Error
	code    codes.Code
}

func (e *lostError) Error() string { return e.failure.Error() }
func (e *lostError) Unwrap() error { return e.failure }

// unencodedText is how grpc-go begins the text of a request that has no form on the wire. A test pins it.
const unencodedText = "grpc: error while marshaling"

// attemptError returns the error of an attempt: the daemon's own error, a lostError, or the error of a request that was not sent.
func attemptError(ctx context.Context, err error, facts callFacts) error {
	st := status.Convert(err)
	if st.Code() == codes.Internal && strings.HasPrefix(st.Message(), unencodedText) {
		return withCause(invalidArgument(facts.mutation, "request", "texts of valid UTF-8", "other bytes"), err)
	}
	if carried := carriedError(st); carried != nil {
		return carried
	}
	return &lostError{statusError(ctx, st, facts), st.Code()}
}

var reasonOfStatus = map[codes.Code]Reason{
	codes.InvalidArgument:   ErrInvalidArgument,
	codes.ResourceExhausted: ErrTooLarge,
	codes.Unauthenticated:   ErrUnauthenticated,
	codes.Unimplemented:     ErrUnsupported,
	codes.Unavailable:       ErrUnavailable,
	codes.DeadlineExceeded:  ErrDeadlineExceeded,
}

// Texts of grpc-go for a stream that was reset or ended early. Its status depends on the code of the reset, whose cause is unknown.
const (
	resetText    = "stream terminated by RST_STREAM"
	noTrailers   = "server closed the stream without sending trailers"
	tooLargeText = "received message larger than max"
)

// statusError returns the error of a status that carries none of the store: gRPC, a proxy or another server sent it.
func statusError(ctx context.Context, st *status.Status, facts callFacts) *Error {
	isBroken := strings.HasPrefix(st.Message(), resetText) || strings.HasPrefix(st.Message(), noTrailers)
	reason, known := reasonOfStatus[st.Code()]
	var cause error = st.Err()
	switch {
	case st.Code() == codes.Canceled && errors.Is(ctx.Err(), context.Canceled):
		reason, cause = ErrCancelled, context.Canceled
	// A daemon that stops also cancels the calls that it cuts off, and the caller has ended nothing then.
	case st.Code() == codes.Canceled, isBroken:
		reason = ErrUnavailable
	case st.Code() == codes.DeadlineExceeded:
		cause = context.DeadlineExceeded
	case !known:
		reason = ErrInternal
	}
	text := statusText(st.Message(), reason, facts, isBroken)
	switch reason {
	case ErrUnsupported:
		return withCause(newError(Unsupported, reason, text), cause)
	case ErrInternal:
		return withCause(newError(Internal, reason, text), cause)
	}
	return withCause(failed(facts.mutation, reason, text), cause)
}

func statusText(found string, reason Reason, facts callFacts, isBroken bool) string {
	awaited := "a response to " + facts.method
	if facts.hasBegun {
		awaited = "the rest of the response to " + facts.method
	}
	effect := "; nothing was changed by this call"
	if facts.mutation {
		effect = ""
	}
	switch {
	case reason == ErrDeadlineExceeded:
		return "the call waited for " + awaited + " from the daemon at " + facts.address + " until its deadline" + effect
	case reason == ErrCancelled:
		return "the call was cancelled while it waited for " + awaited + " from the daemon at " + facts.address + effect
	case reason == ErrUnavailable:
		if found != "" && !isBroken {
			found = " (" + found + ")"
		} else {
			found = ""
		}
		return "the daemon at " + facts.address + ", or the connection to it, ended before " + awaited + " arrived" + found + effect
	case reason == ErrTooLarge && strings.Contains(found, tooLargeText):
		return "a message of " + facts.method + " is larger than its receiver accepts (" + found + "); for a response, raise the " +
			"option WithMaxMessageBytes; for a request, the daemon's --max-request-size" + effect
	}
	return found
}
