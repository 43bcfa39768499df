package bolthole

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// UploadSessionSnapshot uploads a session snapshot of a runtime from a reader, without holding it in memory, and returns the id of the
// upload: pass Uploaded(id, profile) to a commit of the same runtime. The document is read twice, for its SHA-256 and to be sent, and
// again after a lost connection. The daemon drops an upload that is not used for Limits.upload_idle_seconds, and all when it stops. It
// fails with ErrTooLarge above Limits.document_bytes. An error of the reader is returned as it is.
//
// CommitSessionSnapshot uploads a long document in memory by itself.
func (s *Store) UploadSessionSnapshot(ctx context.Context, runtimeID string, document io.ReadSeeker) (string, error) {
	return s.uploadSeeker(ctx, runtimeID, sessionKind, document)
}

// UploadOpsLifecycle uploads the JSON of an operation snapshot as UploadSessionSnapshot does: pass the id to PersistOpsLifecycleUpload.
func (s *Store) UploadOpsLifecycle(ctx context.Context, runtimeID string, json io.ReadSeeker) (string, error) {
	return s.uploadSeeker(ctx, runtimeID, opsKind, json)
}

// UploadDocument uploads length bytes of a stream whose SHA-256 is known: a session snapshot or an operation snapshot, as kind says. The
// stream is read once, so the upload is not repeated when the connection is lost.
func (s *Store) UploadDocument(
	ctx context.Context, runtimeID string, kind pb.RecordKind, document io.Reader, length int64, digest [sha256.Size]byte,
) (string, error) {
	if length < 0 {
		return "", invalidArgument(true, "upload.length", "a number of bytes from 0", fmt.Sprint(length))
	}
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	start := &pb.SessionUpload{RuntimeId: &runtimeID, Length: uint64(length), Sha256: digest[:], Record: kind}
	return s.uploadDocument(ctx, start, false, func(send func([]byte) error) error { return sendChunks(document, send) })
}

func (s *Store) uploadSeeker(ctx context.Context, runtimeID string, kind pb.RecordKind, document io.ReadSeeker) (string, error) {
	ctx, stop := s.conn.withDeadline(ctx)
	defer stop()
	from, err := document.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	length, err := io.Copy(hash, document)
	if err != nil {
		return "", err
	}
	start := &pb.SessionUpload{RuntimeId: &runtimeID, Length: uint64(length), Sha256: hash.Sum(nil), Record: kind}
	return s.uploadDocument(ctx, start, true, func(send func([]byte) error) error {
		if _, err := document.Seek(from, io.SeekStart); err != nil {
			return err
		}
		return sendChunks(document, send)
	})
}

func sendChunks(document io.Reader, send func([]byte) error) error {
	for {
		// A new buffer each time: gRPC may still hold the last one.
		chunk := make([]byte, uploadChunkBytes)
		n, err := io.ReadFull(document, chunk)
		if n > 0 {
			if err := send(chunk[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}
