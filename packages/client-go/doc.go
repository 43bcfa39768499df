// Package bolthole is the Go client of the Bolthole daemon, which keeps the state of agent runtimes on the local disk.
//
// Connect returns a Store. Its methods take and return whole documents and all input rows of a runtime. On the wire they send only
// what changed since the last call.
//
// Durability: when a mutation returns without an error, the change is on the disk and survives a crash of the daemon or of the
// machine. Each mutation applies completely or not at all. A load returns one consistent state.
//
// Errors: every call fails with an *Error. Decide by its reason, as in errors.Is(err, bolthole.ErrReceiptExists). The client retries
// within the deadline of the context where that is safe: each mutation has a request id, and the daemon applies an id once. When
// the response of a mutation was lost and no retry got a final one, the error is ErrOutcomeUnknown, and Error.RequestID has the id.
//
// Deadlines: a call ends with its context. A context without a deadline gets the one of WithTimeout, 10 seconds by default.
//
// Records are the messages of the package boltholepb. Do not change a document or a record during the call that it was passed to,
// and do not change a document after it: the client keeps its bytes to send only the changes of the next one. Stored data is safe
// if you do change one: the daemon refuses the patch, and the client sends the document in full.
//
// A Store may be used by several goroutines at once.
package bolthole
