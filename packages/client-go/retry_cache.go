package bolthole

import (
	"errors"
	"sync"
)

// requestForm has the parts of a sent request that do not follow from the caller's arguments.
type requestForm struct {
	// base is the base of the patch that replaced the document. Nil: the document was sent in full.
	base *cachedDocument
	// uploadID is the upload that the request named instead of the document.
	uploadID string
	// expectedVersion is the version that replaced the expected document. Empty: its SHA-256 was sent.
	expectedVersion Version
	// omitted are the input rows that were left out as unchanged. Nil: all rows were sent.
	omitted *cachedRows
	// inputsVersion is the version at which the store has the omitted rows.
	inputsVersion Version
}

const maxForms = 1000

// retryCache has the forms of requests whose outcome is unknown. A caller gets the request id of such a request in the error and may
// repeat the call with it. The daemon returns the first response only to an equal request, so the repeated request must have the same
// form.
type retryCache struct {
	mu    sync.Mutex
	forms *byteBudget[requestForm]
}

func newRetryCache(maxBytes int64) *retryCache {
	// Each form counts as one byte at least, so forms without documents and rows are kept even with a budget of 0.
	return &retryCache{forms: newByteBudget[requestForm](max(maxForms, maxBytes), maxForms)}
}

// formOf returns the form of a request whose outcome is unknown. It is empty for every other request, and for no request id.
func (c *retryCache) formOf(requestID string) requestForm {
	if requestID == "" {
		return requestForm{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	form, _ := c.forms.get(requestID)
	return form
}

// forget forgets a request that got its response, or that cannot be repeated in its form.
func (c *retryCache) forget(requestID string) {
	if requestID == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forms.remove(requestID)
}

// record keeps a part of the form of a request if err says that its outcome is unknown. set sets every field of the part, also empty
// ones: an earlier attempt may have had another form.
func (c *retryCache) record(err error, set func(*requestForm)) {
	var failure *Error
	if !errors.As(err, &failure) || failure.Reason != ErrOutcomeUnknown || failure.RequestID == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	form, _ := c.forms.peek(failure.RequestID)
	set(&form)
	bytes := int64(1)
	if form.base != nil {
		bytes += int64(len(form.base.bytes))
	}
	if form.omitted != nil {
		bytes += form.omitted.bytes
	}
	c.forms.set(failure.RequestID, form, bytes)
}
