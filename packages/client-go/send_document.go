package bolthole

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// content is one form in which a document is sent. Exactly one member is set.
type content struct {
	whole    []byte
	isWhole  bool
	patch    *pb.SnapshotPatch
	uploadID string
}

// sessionDelta returns a form of a session document as a message.
func (c content) sessionDelta(profile pb.SessionProfile) *pb.SessionDelta {
	delta := &pb.SessionDelta{Profile: profile}
	switch {
	case c.patch != nil:
		delta.Content = &pb.SessionDelta_Patch{Patch: c.patch}
	case c.isWhole:
		delta.Content = &pb.SessionDelta_SessionSnapshot{SessionSnapshot: c.whole}
	default:
		delta.Content = &pb.SessionDelta_UploadId{UploadId: c.uploadID}
	}
	return delta
}

// opsDelta returns a form of the JSON of an operation snapshot as a message.
func (c content) opsDelta() *pb.OpsDelta {
	switch {
	case c.patch != nil:
		return &pb.OpsDelta{Content: &pb.OpsDelta_Patch{Patch: c.patch}}
	case c.isWhole:
		return &pb.OpsDelta{Content: &pb.OpsDelta_OpsSnapshot{OpsSnapshot: c.whole}}
	}
	return &pb.OpsDelta{Content: &pb.OpsDelta_UploadId{UploadId: c.uploadID}}
}

// documentCall is the commit of one document.
type documentCall struct {
	runtimeID string
	// requestID is the caller's own, or empty.
	requestID string
	kind      pb.RecordKind
	bytes     []byte
	// commit sends the document in a form. It returns the version of the document, or "" when a compare-and-set missed.
	commit func(content) (Version, error)
}

// sendSession commits a session document by the rules of sendWhole. An upload of the caller's own is passed on unchanged.
func (c *client) sendSession(
	ctx context.Context, runtimeID string, call callOptions, document *Document, commit func(*pb.SessionDelta) (Version, error),
) error {
	if document == nil {
		return invalidArgument(true, "session_delta", "a document", "nil")
	}
	commitAs := func(form content) (Version, error) { return commit(form.sessionDelta(document.profile)) }
	kind := pb.RecordKind_RECORD_KIND_SESSION_SNAPSHOT
	if document.uploadID != "" {
		version, err := commitAs(content{uploadID: document.uploadID})
		if err == nil && version != "" {
			c.deltas.documents.forget(kind, runtimeID)
		}
		return err
	}
	return c.sendWhole(ctx, documentCall{runtimeID, call.requestID, kind, document.bytes, commitAs})
}

// sendWhole commits a document as a patch of the cached one, or in full. It holds the document in the cache when it was committed.
func (c *client) sendWhole(ctx context.Context, call documentCall) error {
	// Computed before sending: the caller may change these bytes while it waits for the response.
	checksum := crc32.ChecksumIEEE(call.bytes)
	version, isPatched, err := c.commitPatch(call, checksum)
	if !isPatched {
		if len(call.bytes) <= c.deltas.uploadAbove {
			version, err = c.commitInForm(call, nil, content{whole: call.bytes, isWhole: true})
		} else {
			version, err = c.commitUpload(ctx, call)
		}
	}
	if err != nil {
		return err
	}
	c.deltas.retries.forget(call.requestID)
	if version != "" {
		c.deltas.documents.put(call.kind, call.runtimeID, &cachedDocument{version, call.bytes, checksum})
	}
	return nil
}

// commitPatch returns false when no patch can be made, or when the daemon refused the patch because of its base.
func (c *client) commitPatch(call documentCall, checksum uint32) (Version, bool, error) {
	var base *cachedDocument
	if call.requestID == "" {
		base = c.deltas.documents.get(call.kind, call.runtimeID)
	} else {
		base = c.deltas.retries.formOf(call.requestID).base
	}
	if base == nil {
		return "", false, nil
	}
	patch := createPatch(base, call.bytes, checksum, c.deltas.patch)
	if patch == nil {
		return "", false, nil
	}
	version, err := c.commitInForm(call, base, content{patch: patch})
	if !isRefused(err, ErrBaseNotCurrent, patchField) {
		return version, true, err
	}
	c.deltas.documents.forget(call.kind, call.runtimeID)
	// Another client has written to this runtime, so its rows may have changed too.
	c.deltas.rows.forget(call.runtimeID)
	c.deltas.retries.forget(call.requestID)
	return "", false, nil
}

var (
	patchField = regexp.MustCompile(`^(\w+\.)?patch\b`)
	inputField = regexp.MustCompile(`^input_(updates|states)\b`)
)

// isRefused says whether a request was refused, and changed nothing, for a reason or because of a field.
func isRefused(err error, reason Reason, field *regexp.Regexp) bool {
	var e *Error
	return errors.As(err, &e) && e.Applied == AppliedNo && (e.Reason == reason || field.MatchString(e.Record))
}

func (c *client) commitUpload(ctx context.Context, call documentCall) (Version, error) {
	commitAs := func(uploadID string) (Version, error) {
		return c.commitInForm(call, nil, content{uploadID: uploadID})
	}
	uploadID := c.deltas.retries.formOf(call.requestID).uploadID
	for isFirst := true; ; isFirst = false {
		if uploadID == "" {
			var err error
			if uploadID, err = c.uploadBytes(ctx, call); err != nil {
				return "", err
			}
		}
		version, err := commitAs(uploadID)
		// The daemon was restarted between the upload and the commit, or the upload has expired.
		if !isFirst || !isReason(err, ErrUploadUnknown) {
			return version, err
		}
		uploadID = ""
	}
}

// commitInForm commits a document in one form. It records the form when the outcome is unknown.
func (c *client) commitInForm(call documentCall, base *cachedDocument, form content) (Version, error) {
	version, err := call.commit(form)
	if err != nil {
		c.deltas.retries.record(err, func(f *requestForm) { f.base, f.uploadID = base, form.uploadID })
	}
	return version, err
}

const uploadChunkBytes = 256 * kib

func (c *client) uploadBytes(ctx context.Context, call documentCall) (string, error) {
	digest := sha256.Sum256(call.bytes)
	start := &pb.SessionUpload{
		RuntimeId: &call.runtimeID, Length: uint64(len(call.bytes)), Sha256: digest[:], Record: call.kind,
	}
	size := min(uploadChunkBytes, c.deltas.uploadAbove)
	return c.uploadDocument(ctx, start, true, func(send func([]byte) error) error {
		for at := 0; at < len(call.bytes); at += size {
			if err := send(call.bytes[at:min(at+size, len(call.bytes))]); err != nil {
				return err
			}
		}
		return nil
	})
}

// uploadDocument sends a document in chunks and returns the id of the upload.
func (c *client) uploadDocument(
	ctx context.Context, start *pb.SessionUpload, isRepeatable bool, chunks func(send func([]byte) error) error,
) (string, error) {
	response, err := upload(ctx, c.conn, "UploadSessionSnapshot", isRepeatable, c.conn.rpc.UploadSessionSnapshot,
		func(send func(*pb.UploadSessionSnapshotRequest) error) error {
			first := &pb.UploadSessionSnapshotRequest{Part: &pb.UploadSessionSnapshotRequest_Upload{Upload: start}}
			if err := send(first); err != nil {
				return err
			}
			return chunks(func(chunk []byte) error {
				return send(&pb.UploadSessionSnapshotRequest{Part: &pb.UploadSessionSnapshotRequest_Chunk{Chunk: chunk}})
			})
		})
	if err != nil {
		return "", err
	}
	return response.GetUploadId(), nil
}

// sendExpected sends an expected document as its version if it is the cached one: then neither side has to hash it.
//
// When the daemon reports that this version is not current, the same bytes may be current at another version. The request has changed
// nothing and no outcome was stored, so it is sent again with the hash.
func (c *client) sendExpected(
	runtimeID, requestID string, expected ExpectedSnapshot, commit func(version *string, sha256 []byte) (Version, error),
) (Version, error) {
	if !expected.isBytes {
		if expected.sha256 != nil {
			return commit(nil, expected.sha256)
		}
		version := string(expected.version)
		return commit(&version, nil)
	}
	attempt := func(version Version) (Version, error) {
		var found Version
		var err error
		if version != "" {
			text := string(version)
			found, err = commit(&text, nil)
		} else {
			digest := sha256.Sum256(expected.bytes)
			found, err = commit(nil, digest[:])
		}
		if err != nil {
			c.deltas.retries.record(err, func(f *requestForm) { f.expectedVersion = version })
		}
		return found, err
	}
	var known Version
	if requestID == "" {
		known = c.deltas.documents.versionOf(runtimeID, expected.bytes)
	} else {
		known = c.deltas.retries.formOf(requestID).expectedVersion
	}
	if known != "" {
		if version, err := attempt(known); err != nil || version != "" {
			if err == nil {
				c.deltas.retries.forget(requestID)
			}
			return version, err
		}
	}
	version, err := attempt("")
	if err == nil {
		c.deltas.retries.forget(requestID)
	}
	return version, err
}

// refuseLargeOps fails before anything is sent.
func refuseLargeOps(actual int, limit uint64) error {
	if limit == 0 || uint64(actual) <= limit {
		return nil
	}
	e := failed(true, ErrTooLarge, fmt.Sprintf("ops_delta: %d bytes are more than the limit of %d", actual, limit))
	e.Record, e.Expected, e.Actual = "ops_delta", fmt.Sprintf("at most %d bytes", limit), fmt.Sprintf("%d bytes", actual)
	return e
}
