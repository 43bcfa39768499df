package bolthole

import (
	"math"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

const (
	// maxMessageDocument: a larger document is uploaded. In one message it would block the connection and both processes.
	maxMessageDocument = 8 * mib
	// singleRowMargin has the bytes of a request around its only row: ids and expectations.
	singleRowMargin = 64 * kib
)

// deltas is everything that is needed to send a change instead of the whole value. Three rules keep this safe:
//
//   - A refused request has changed nothing. So when a request is refused because a cache was out of date, it is sent again in full,
//     under a new request id.
//   - After a request with an unknown outcome, no other request is sent for the same call. Only uploaded input rows are uploaded
//     once more, and the same change is sent under the same request id (see commitUploaded).
//   - A caller that passes a request id will repeat the call with it, perhaps from another process, and only an equal request gets
//     the first response. So its request is sent in full, whatever the caches hold. If the id is that of a request of this client
//     whose outcome is unknown, the request is sent in the same form again (see retryCache). All requests of the call have the
//     caller's id, and the daemon applies an id once.
type deltas struct {
	documents *documentCache
	rows      *inputRowCache
	retries   *retryCache

	patch patchLimits
	// operationSnapshotBytes is the size limit of an operation snapshot.
	operationSnapshotBytes uint64
	rowLimits              rowLimits
	// singleRowLimits are those of a request with one row and nothing else.
	singleRowLimits rowLimits
	// uploadAbove is the size in bytes above which a document is uploaded before the request that names it.
	uploadAbove int
}

func newDeltas(limits *pb.Limits, o *options) *deltas {
	requestBytes := o.maxMessageBytes
	if advertised := limits.GetRequestBytes(); advertised > 0 && advertised < uint64(requestBytes) {
		requestBytes = int(advertised)
	}
	// Half of a message, so that everything else in the request fits beside the document and beside the rows.
	uploadAbove := max(1, min(maxMessageDocument, requestBytes/2))
	rows := rowLimits{
		batchRows:   int(limits.GetBatchRows()),
		uploadRows:  int(limits.GetInputUploadRows()),
		uploadBytes: clampInt(limits.GetInputUploadBytes()),
		rowsAbove:   requestBytes / 2,
	}
	single := rows
	single.rowsAbove = requestBytes - singleRowMargin
	return &deltas{
		documents: newDocumentCache(o.documentBytes),
		rows:      newInputRowCache(o.rowBytes),
		retries:   newRetryCache(o.documentBytes),
		patch: patchLimits{
			pieces:      int(limits.GetPatchPieces()),
			insertBytes: min(int(limits.GetPatchInsertBytes()), uploadAbove),
		},
		operationSnapshotBytes: uint64(limits.GetOperationSnapshotBytes()),
		rowLimits:              rows,
		singleRowLimits:        single,
		uploadAbove:            uploadAbove,
	}
}

func clampInt(value uint64) int { return int(min(value, math.MaxInt)) }
