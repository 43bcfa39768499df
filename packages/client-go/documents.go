package bolthole

import (
	"crypto/sha256"
	"io"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// A Document is a runtime's new session snapshot. Make it with Session, Opaque or Uploaded.
type Document struct {
	bytes    []byte
	uploadID string
	profile  pb.SessionProfile
}

// Session returns a session document of the reference: JSON that follows the transcript rules (docs/sessions.md). Its bytes are
// stored exactly as they are.
func Session(json []byte) *Document {
	return &Document{bytes: json, profile: pb.SessionProfile_SESSION_PROFILE_SESSION}
}

// Opaque returns a document of bytes of any kind, without transcript rules. Versions and compare-and-set work as for sessions.
func Opaque(bytes []byte) *Document {
	return &Document{bytes: bytes, profile: pb.SessionProfile_SESSION_PROFILE_OPAQUE}
}

// Uploaded returns the document of an upload. One commit uses the upload up.
func Uploaded(uploadID string, profile pb.SessionProfile) *Document {
	return &Document{uploadID: uploadID, profile: profile}
}

// A Snapshot is a stored session snapshot.
type Snapshot struct {
	// Data has exactly the bytes that were committed. Do not change them: the client keeps them.
	Data    []byte
	Version Version
	Profile pb.SessionProfile
}

// IsOpaque says whether the snapshot has the opaque profile.
func (s *Snapshot) IsOpaque() bool { return s.Profile == pb.SessionProfile_SESSION_PROFILE_OPAQUE }

// With returns a new document of the same profile.
func (s *Snapshot) With(bytes []byte) *Document { return &Document{bytes: bytes, profile: s.Profile} }

// An ExpectedSnapshot says which snapshot must be stored for a compare-and-set. Make it with SnapshotVersion, SnapshotBytes or
// SnapshotSHA256.
type ExpectedSnapshot struct {
	version Version
	sha256  []byte
	bytes   []byte
	isBytes bool
}

// SnapshotVersion expects the snapshot at a version.
func SnapshotVersion(version Version) ExpectedSnapshot { return ExpectedSnapshot{version: version} }

// SnapshotBytes expects the snapshot with these bytes. They are sent as a version when the client has them in its cache, and as their
// SHA-256 otherwise.
func SnapshotBytes(bytes []byte) ExpectedSnapshot {
	return ExpectedSnapshot{bytes: bytes, isBytes: true}
}

// SnapshotSHA256 expects the snapshot whose bytes have this SHA-256.
func SnapshotSHA256(digest [sha256.Size]byte) ExpectedSnapshot {
	return ExpectedSnapshot{sha256: digest[:]}
}

// A DocumentReader reads a stored document as it arrives. Close it, also after an error. Nothing else may be assumed of a document
// that was not read to its end.
type DocumentReader struct {
	// Version is the version of the document.
	Version Version
	// Length is its length in bytes.
	Length int64
	// Profile is that of a session snapshot, and unspecified for an operation snapshot.
	Profile pb.SessionProfile

	next    func() ([]byte, error)
	stop    func()
	pending []byte
	read    int64
	err     error
}

// Read reads the next bytes. It returns io.EOF at the end of the document.
func (r *DocumentReader) Read(p []byte) (int, error) {
	for len(r.pending) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.pending, r.err = r.next()
		if r.err == io.EOF && r.read != r.Length {
			r.err = failed(false, ErrDamagedRecord, "the document ended before its length")
		}
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	r.read += int64(n)
	return n, nil
}

// Close ends the load.
func (r *DocumentReader) Close() error {
	r.stop()
	if r.err == nil {
		r.err = failed(false, ErrClosed, "the reader of the document was closed")
	}
	return nil
}
