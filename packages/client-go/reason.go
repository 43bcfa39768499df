package bolthole

import "google.golang.org/grpc/codes"

// A Reason says why a call failed. It is an error itself, so that a program can write errors.Is(err, bolthole.ErrBusy).
// docs/errors.md of the repository says for each reason what happened and what to do. A newer daemon may have reasons that
// this list does not have.
type Reason string

// Error returns the name of the reason.
func (r Reason) Error() string { return string(r) }

// Wrong arguments. Nothing was changed, and the same call would be refused again.
const (
	// ErrInvalidArgument: a field is missing or malformed. Error.Record names it, Error.Expected says what it must be.
	ErrInvalidArgument Reason = "INVALID_ARGUMENT"
	// ErrTooLarge: a value is above its limit. Error.Record names it, Error.Expected is the limit.
	ErrTooLarge Reason = "TOO_LARGE"
	// ErrUnauthenticated: the token is missing or wrong, or the socket belongs to another user.
	ErrUnauthenticated Reason = "UNAUTHENTICATED"
)

// Rules of the contract.
const (
	// ErrRecordRejected: a record contradicts itself or the contract.
	ErrRecordRejected Reason = "RECORD_REJECTED"
	// ErrUnsupportedRecordVersion: a lifecycle record has a version other than 1.
	ErrUnsupportedRecordVersion Reason = "UNSUPPORTED_RECORD_VERSION"
	// ErrReceiptExists: a receipt of this run and sequence is stored. Error.Identical says whether it is the same.
	ErrReceiptExists Reason = "RECEIPT_EXISTS"
	// ErrSessionKeyMismatch: the document has another session id than the session store key.
	ErrSessionKeyMismatch Reason = "SESSION_KEY_MISMATCH"
	// ErrTranscriptRejected: the new session does not continue the stored one.
	ErrTranscriptRejected Reason = "TRANSCRIPT_REJECTED"
	// ErrTranscriptRevisionConflict: a rewrite names another parent revision than the stored one.
	ErrTranscriptRevisionConflict Reason = "TRANSCRIPT_REVISION_CONFLICT"
	// ErrProfileMismatch: the stored snapshot has another profile.
	ErrProfileMismatch Reason = "PROFILE_MISMATCH"
)

// Expectations of the caller.
const (
	// ErrVersionConflict: a record has another version than the expected one.
	ErrVersionConflict Reason = "VERSION_CONFLICT"
	// ErrFenceConflict: the stored lifecycle record has another fence token. Another process probably owns the runtime now.
	ErrFenceConflict Reason = "FENCE_CONFLICT"
	// ErrBaseNotCurrent: the base of a patch is not stored. The client then sends the whole document by itself.
	ErrBaseNotCurrent Reason = "BASE_NOT_CURRENT"
	// ErrInputNotCurrent: the rows that a request left out have changed. The client then sends all rows by itself.
	ErrInputNotCurrent Reason = "INPUT_NOT_CURRENT"
	// ErrUploadUnknown: the upload was used or dropped.
	ErrUploadUnknown Reason = "UPLOAD_UNKNOWN"
	// ErrStoreReplaced: another store is served now, for example after a restore. Connect again, and load the data.
	ErrStoreReplaced Reason = "STORE_REPLACED"
)

// Request ids.
const (
	// ErrRequestIDReused: the id belongs to an earlier call with other arguments.
	ErrRequestIDReused Reason = "REQUEST_ID_REUSED"
	// ErrRequestIDExpired: the time of the id is below the horizon.
	ErrRequestIDExpired Reason = "REQUEST_ID_EXPIRED"
	// ErrRequestIDSealed: the id was sealed before the call arrived. The change will never be applied with it.
	ErrRequestIDSealed Reason = "REQUEST_ID_SEALED"
)

// The condition of the daemon. The same call may succeed later.
const (
	// ErrBusy: too much is in flight. The client retries by itself until the deadline.
	ErrBusy Reason = "BUSY"
	// ErrDiskFull: the disk may not have enough space. The client does not retry by itself.
	ErrDiskFull Reason = "DISK_FULL"
	// ErrQuota: the store would grow beyond its quota. The client does not retry by itself.
	ErrQuota Reason = "QUOTA"
	// ErrShuttingDown: the daemon stops. The client retries by itself until the deadline.
	ErrShuttingDown Reason = "SHUTTING_DOWN"
	// ErrOutcomeUnknown: a mutation was sent, and its response was lost. It may have been applied. Repeat the call with
	// WithRequestID(err.RequestID), or call GetCommit or SealCommit with that id.
	ErrOutcomeUnknown Reason = "OUTCOME_UNKNOWN"
	// ErrDamagedRecord: a stored record is not what was written. Error.Record names it.
	ErrDamagedRecord Reason = "DAMAGED_RECORD"
)

// Errors that the client detects, and the other variants of the contract.
const (
	// ErrUnavailable: no daemon responded, or it ended before its response arrived.
	ErrUnavailable Reason = "UNAVAILABLE"
	// ErrDeadlineExceeded: the deadline passed. The error is also context.DeadlineExceeded.
	ErrDeadlineExceeded Reason = "DEADLINE_EXCEEDED"
	// ErrCancelled: the caller cancelled the context. The error is also context.Canceled.
	ErrCancelled Reason = "CANCELLED"
	// ErrClosed: the client was closed before it sent the call.
	ErrClosed Reason = "CLOSED"
	// ErrNotFound: a reason that other stores use. This daemon returns an empty response for a missing record.
	ErrNotFound Reason = "NOT_FOUND"
	// ErrUnsupported: the store does not have this operation.
	ErrUnsupported Reason = "UNSUPPORTED"
	// ErrInternal: a defect of the program. The log of the daemon has the details.
	ErrInternal Reason = "INTERNAL"
)

// reasonFacts has what all errors with one reason share.
type reasonFacts struct {
	status  codes.Code
	applied Applied
	retry   Retry
	// afterLookup says that the store refuses a mutation with this reason only after it looked for an outcome of the request
	// id. Then the refusal of a repeated request is final: no earlier attempt was applied.
	afterLookup bool
}

// reasons is the table of contract/src/error-reasons.ts. packages/conformance/cases/errors.json compares the two.
var reasons = map[Reason]reasonFacts{
	ErrInvalidArgument:            {codes.InvalidArgument, AppliedNo, RetryNever, false},
	ErrTooLarge:                   {codes.InvalidArgument, AppliedNo, RetryNever, false},
	ErrUnauthenticated:            {codes.Unauthenticated, AppliedNo, RetryNever, false},
	ErrRecordRejected:             {codes.FailedPrecondition, AppliedNo, RetryNever, false},
	ErrUnsupportedRecordVersion:   {codes.FailedPrecondition, AppliedNo, RetryNever, false},
	ErrReceiptExists:              {codes.FailedPrecondition, AppliedNo, RetryNever, true},
	ErrSessionKeyMismatch:         {codes.FailedPrecondition, AppliedNo, RetryNever, true},
	ErrTranscriptRejected:         {codes.FailedPrecondition, AppliedNo, RetryAfterReload, true},
	ErrTranscriptRevisionConflict: {codes.Aborted, AppliedNo, RetryAfterReload, true},
	ErrProfileMismatch:            {codes.FailedPrecondition, AppliedNo, RetryNever, true},
	ErrVersionConflict:            {codes.Aborted, AppliedNo, RetryAfterReload, true},
	ErrFenceConflict:              {codes.Aborted, AppliedNo, RetryAfterReload, true},
	ErrBaseNotCurrent:             {codes.Aborted, AppliedNo, RetryAfterReload, true},
	ErrInputNotCurrent:            {codes.Aborted, AppliedNo, RetryAfterReload, true},
	ErrUploadUnknown:              {codes.FailedPrecondition, AppliedNo, RetryNever, false},
	ErrStoreReplaced:              {codes.FailedPrecondition, AppliedNo, RetryNever, false},
	ErrRequestIDReused:            {codes.FailedPrecondition, AppliedNo, RetryNever, true},
	ErrRequestIDExpired:           {codes.FailedPrecondition, AppliedNo, RetryNever, false},
	ErrRequestIDSealed:            {codes.FailedPrecondition, AppliedNo, RetryNever, true},
	ErrBusy:                       {codes.ResourceExhausted, AppliedNo, RetrySameRequest, false},
	ErrDiskFull:                   {codes.ResourceExhausted, AppliedNo, RetrySameRequest, false},
	ErrQuota:                      {codes.ResourceExhausted, AppliedNo, RetrySameRequest, false},
	ErrShuttingDown:               {codes.Unavailable, AppliedNo, RetrySameRequest, false},
	ErrOutcomeUnknown:             {codes.Unavailable, AppliedUnknown, RetrySameRequest, false},
	ErrDamagedRecord:              {codes.DataLoss, AppliedNo, RetryNever, false},
	ErrUnavailable:                {codes.Unavailable, AppliedNo, RetrySameRequest, false},
	ErrDeadlineExceeded:           {codes.DeadlineExceeded, AppliedNo, RetrySameRequest, false},
	ErrCancelled:                  {codes.Canceled, AppliedNo, RetrySameRequest, false},
	ErrClosed:                     {codes.FailedPrecondition, AppliedNo, RetryNever, false},
	ErrNotFound:                   {codes.NotFound, AppliedNo, RetryNever, false},
	ErrUnsupported:                {codes.Unimplemented, AppliedNo, RetryNever, false},
	ErrInternal:                   {codes.Internal, AppliedUnknown, RetryNever, false},
}
