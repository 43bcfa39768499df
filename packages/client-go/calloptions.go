package bolthole

import (
	"slices"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// A CallOption changes one mutation.
type CallOption interface{ applyTo(*callOptions) }

// An Expectation is a condition of a mutation: when it does not hold, the mutation is refused and changes nothing. Pass it to one
// call, or to Store.WithExpectations.
type Expectation interface {
	CallOption
	expectation()
}

type callOptions struct {
	// requestID is the caller's own. Empty: the client makes one.
	requestID string
	expect    expectations
	err       error
}

type requestIDOption string

func (id requestIDOption) applyTo(o *callOptions) {
	if id == "" {
		o.err = invalidArgument(true, "request_id", "a UUIDv7", "no characters")
	}
	o.requestID = string(id)
}

// WithRequestID sets the request id of a mutation: a UUIDv7. Repeat it to repeat the same call, for example with Error.RequestID
// after ErrOutcomeUnknown. The request is then sent in full, because only an equal request gets the first response; after
// ErrOutcomeUnknown it is sent in the form that it had. Without this option the client makes a new id. NewRequestID makes one, too.
func WithRequestID(id string) CallOption { return requestIDOption(id) }

// NewRequestID returns a new request id with a time that the store accepts, for a call that may be repeated by another process.
func (s *Store) NewRequestID() string { return s.ids.next() }

type fenceOption uint64

func (fenceOption) expectation() {}

func (token fenceOption) applyTo(o *callOptions) {
	value := uint64(token)
	o.expect.fence = &value
}

// ExpectFence refuses the mutation with ErrFenceConflict unless the stored lifecycle record has this fence token.
func ExpectFence(token uint64) Expectation { return fenceOption(token) }

type versionOption struct{ expected *pb.ExpectedVersion }

func (versionOption) expectation() {}

func (v versionOption) applyTo(o *callOptions) {
	isSame := func(other *pb.ExpectedVersion) bool {
		return other.GetRecord() == v.expected.GetRecord() && other.GetInputId() == v.expected.GetInputId()
	}
	// The list may be shared with a store.
	kept := slices.DeleteFunc(slices.Clone(o.expect.versions), isSame)
	o.expect.versions = append(kept, v.expected)
}

// ExpectVersion refuses the mutation with ErrVersionConflict unless a record of the runtime has this version. For an input row use
// ExpectInputVersion.
func ExpectVersion(record pb.RecordKind, version Version) Expectation {
	return versionOption{&pb.ExpectedVersion{Record: record, Expected: &pb.ExpectedVersion_Version{Version: string(version)}}}
}

// ExpectAbsent refuses the mutation with ErrVersionConflict when a record of the runtime is stored.
func ExpectAbsent(record pb.RecordKind) Expectation {
	return versionOption{&pb.ExpectedVersion{Record: record, Expected: &pb.ExpectedVersion_Absent{Absent: true}}}
}

// ExpectInputVersion refuses the mutation with ErrVersionConflict unless the input row has this version.
func ExpectInputVersion(inputID string, version Version) Expectation {
	e := ExpectVersion(pb.RecordKind_RECORD_KIND_INPUT_STATE, version).(versionOption)
	e.expected.InputId = &inputID
	return e
}

// ExpectInputAbsent refuses the mutation with ErrVersionConflict when the input row is stored.
func ExpectInputAbsent(inputID string) Expectation {
	e := ExpectAbsent(pb.RecordKind_RECORD_KIND_INPUT_STATE).(versionOption)
	e.expected.InputId = &inputID
	return e
}

// expectations are the conditions of a mutation of one runtime. Calls for the OAuth flow state ignore them.
type expectations struct {
	fence    *uint64
	versions []*pb.ExpectedVersion
}

// WithExpectations returns the same store with conditions for all its mutations of a runtime. The conditions of this store still
// hold; a new one about the same record replaces the earlier one. The returned store shares the connection: closing one closes both.
func (s *Store) WithExpectations(conditions ...Expectation) *Store {
	o := callOptions{expect: s.expect}
	for _, condition := range conditions {
		condition.applyTo(&o)
	}
	return &Store{client: s.client, expect: o.expect}
}

// call returns the options of a mutation.
func (s *Store) call(opts []CallOption) (callOptions, error) {
	o := callOptions{expect: s.expect}
	for _, option := range opts {
		option.applyTo(&o)
	}
	return o, o.err
}

// Committed is the result of a mutation.
type Committed struct {
	// Version is the version of all records that the mutation wrote.
	Version Version
	// Replayed: an earlier call with the same request id was applied, and this call applied nothing.
	Replayed bool
}

// Loaded is a loaded value and its version.
type Loaded[T any] struct {
	Value   T
	Version Version
}

func loaded[T any](value T, version string) *Loaded[T] { return &Loaded[T]{value, Version(version)} }
