package bolthole

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// rowLimits are the limits of input rows, as the daemon advertises them.
type rowLimits struct {
	batchRows, uploadRows, uploadBytes int
	// rowsAbove is the size in bytes of the rows above which they are uploaded before the request that names the upload.
	rowsAbove int
}

const (
	// rowBytes is the estimated size of a row without its texts, and idBytes that of an id in a list.
	rowBytes = 512
	idBytes  = 40
	// rowMessageBytes: a message of an upload has about this many bytes of rows. A row above it is sent alone.
	rowMessageBytes = 256 * kib
	// rowPieceBytes: a row above this is sent in pieces of this size.
	rowPieceBytes = 1 * mib
	// maxUploadedStates is the largest number of rows in one message of an upload.
	maxUploadedStates = 1024
	// maxUploads is the largest number of uploads for one call. Each but the last met a runtime whose rows were written meanwhile.
	maxUploads = 5
)

// estimatedBytes returns the estimated size of a row in a message. Its canonical JSON has about the same size.
func estimatedBytes(row *pb.StoredInputState) int {
	bytes := rowBytes + len(row.GetHistory())*entryBytes + len(row.GetStateJson())
	source := row.GetReconstructionSource()
	bytes += len(source.GetCoalescing().GetSourceInputIds()) * idBytes
	bytes += len(source.GetProjection().GetRuleId()) + len(source.GetProjection().GetSourceEventId())
	for _, entry := range row.GetHistory() {
		bytes += len(entry.GetReason())
	}
	return bytes + len(row.GetPersistedInputJson()) + len(row.GetIdempotencyKey())
}

func totalBytes(rows []*pb.StoredInputState) int {
	total := 0
	for _, row := range rows {
		total += estimatedBytes(row)
	}
	return total
}

// needUpload says whether rows must be uploaded, because one request cannot carry them. A daemon without uploads has a limit of 0 rows.
func (l rowLimits) needUpload(rows []*pb.StoredInputState) bool {
	return l.uploadRows > 0 && (len(rows) > l.batchRows || totalBytes(rows) > l.rowsAbove)
}

// refuseLargeUpload fails for rows that no upload can carry, before anything is sent. field names all rows of the request.
func (l rowLimits) refuseLargeUpload(rows []*pb.StoredInputState, field string) error {
	if len(rows) > l.uploadRows {
		return rowsTooLarge(field, len(rows), l.uploadRows, "rows", "--max-input-upload-rows")
	}
	if bytes := totalBytes(rows); bytes > l.uploadBytes {
		return rowsTooLarge(field, bytes, l.uploadBytes, "bytes", "--max-input-upload-size")
	}
	return nil
}

func rowsTooLarge(field string, actual, limit int, unit, setting string) error {
	e := failed(true, ErrTooLarge, fmt.Sprintf("%s: %d %s are more than the limit of %d; nothing was sent; write the rows in several "+
		"calls, or raise the daemon's %s", field, actual, unit, limit, setting))
	e.Record, e.Expected, e.Actual = field, fmt.Sprintf("at most %d %s", limit, unit), fmt.Sprintf("%d %s", actual, unit)
	return e
}

// uploadedChange is one mutation whose rows are uploaded.
type uploadedChange struct {
	runtimeID string
	// requestID is the caller's own, or empty.
	requestID string
	rows      []*pb.StoredInputState
	// field is the name of all rows, and fieldOf that of one row in the caller's request.
	field   string
	fieldOf func(int) string
	limits  rowLimits
	// commit sends the request that names the upload, under the request id unless it is empty.
	commit func(uploadID, requestID string) error
}

// commitUploaded uploads rows and commits them. When the daemon does not know the upload any more, because other rows of the runtime
// were written or because it was restarted, the rows are uploaded again, and the commit is repeated. It fails with ErrBusy when this
// happens too often.
//
// When the outcome of a commit is unknown, it is repeated once under the same request id. Then only a refusal that the daemon makes
// after it looked for the outcome of the request id is final. Any other failure returns the ErrOutcomeUnknown.
func (c *client) commitUploaded(ctx context.Context, change uploadedChange) error {
	if err := change.limits.refuseLargeUpload(change.rows, change.field); err != nil {
		return err
	}
	requestID := change.requestID
	var unknown *Error
	orUnknown := func(err error) error {
		if unknown != nil {
			return unknown
		}
		return err
	}
	for attempt := 1; ; attempt++ {
		uploadID, err := c.uploadRows(ctx, change)
		if err != nil {
			return orUnknown(err)
		}
		err = change.commit(uploadID, requestID)
		var failure *Error
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &failure):
			return orUnknown(err)
		case failure.Reason == ErrOutcomeUnknown:
			// A repeated request may have been refused only because the first one used the upload.
			if unknown != nil || ctx.Err() != nil || failure.RequestID == "" {
				return err
			}
			unknown, requestID = failure, failure.RequestID
		case failure.Reason != ErrUploadUnknown || failure.Record != "input_upload_id":
			if reasons[failure.Reason].afterLookup {
				return err
			}
			return orUnknown(err)
		case attempt >= maxUploads:
			text := fmt.Sprintf("the rows of the runtime were written by others during each of %d uploads; try again", maxUploads)
			return orUnknown(withCause(failed(true, ErrBusy, text), err))
		}
	}
}

// uploadRows uploads the rows of a change and returns the id of the upload.
func (c *client) uploadRows(ctx context.Context, change uploadedChange) (string, error) {
	ordered, indexes := inAscendingOrder(change.rows)
	id, err := c.uploadOrderedRows(ctx, change.runtimeID, ordered)
	if err != nil {
		return "", inCallersTerms(err, func(index int) string { return change.fieldOf(indexes[index]) }, len(indexes))
	}
	return id, nil
}

// uploadOrderedRows uploads rows in ascending order of their ids.
func (c *client) uploadOrderedRows(ctx context.Context, runtimeID string, rows []*pb.StoredInputState) (string, error) {
	response, err := upload(ctx, c.conn, "UploadInputStates", true, c.conn.rpc.UploadInputStates,
		func(send func(*pb.UploadInputStatesRequest) error) error {
			start := &pb.InputUpload{RuntimeId: &runtimeID, RowCount: uint64(len(rows))}
			if err := send(&pb.UploadInputStatesRequest{Upload: start}); err != nil {
				return err
			}
			return sendRows(rows, send)
		})
	if err != nil {
		return "", err
	}
	return response.GetUploadId(), nil
}

func sendRows(rows []*pb.StoredInputState, send func(*pb.UploadInputStatesRequest) error) error {
	first, bytes := 0, 0
	flush := func(end int) error {
		batch := rows[first:end]
		first, bytes = end, 0
		if len(batch) == 0 {
			return nil
		}
		return send(&pb.UploadInputStatesRequest{States: batch})
	}
	for i, row := range rows {
		size := estimatedBytes(row)
		if bytes+size > rowMessageBytes || i-first == maxUploadedStates {
			if err := flush(i); err != nil {
				return err
			}
		}
		if size <= rowPieceBytes {
			bytes += size
			continue
		}
		if err := sendPieces(row, send); err != nil {
			return err
		}
		first = i + 1
	}
	return flush(len(rows))
}

func sendPieces(row *pb.StoredInputState, send func(*pb.UploadInputStatesRequest) error) error {
	message, err := proto.Marshal(row)
	if err != nil {
		return withCause(invalidArgument(true, "state", "valid UTF-8", "other bytes"), err)
	}
	for at := 0; at < len(message); at += rowPieceBytes {
		part := &pb.InputStatePiece{Length: uint64(len(message)), Bytes: message[at:min(at+rowPieceBytes, len(message))]}
		if err := send(&pb.UploadInputStatesRequest{Piece: part}); err != nil {
			return err
		}
	}
	return nil
}

// inAscendingOrder returns rows in the order of an upload, ascending and of equal ids the last one, with their indexes among rows.
func inAscendingOrder(rows []*pb.StoredInputState) ([]*pb.StoredInputState, []int) {
	last := make(map[string]int, len(rows))
	for i, row := range rows {
		last[canonicalUUID(row.GetInputId())] = i
	}
	ids := make([]string, 0, len(last))
	for id := range last {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ordered, indexes := make([]*pb.StoredInputState, len(ids)), make([]int, len(ids))
	for i, id := range ids {
		indexes[i] = last[id]
		ordered[i] = rows[last[id]]
	}
	return ordered, indexes
}

// canonicalUUID returns an id in the spelling in which the store returns it. Text that is no id stays as it is, and the store refuses
// it.
func canonicalUUID(id string) string {
	digits := strings.ToLower(strings.NewReplacer("-", "", "{", "", "}", "", "urn:uuid:", "").Replace(id))
	if len(digits) != 32 {
		return id
	}
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

var uploadedRow = regexp.MustCompile(`^states\[(\d+)\]`)

// inCallersTerms returns the error of an upload with the name that the row has in the caller's request.
func inCallersTerms(err error, fieldOf func(int) string, count int) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	name := uploadedRow.FindString(e.Record)
	if name == "" {
		return err
	}
	index, _ := strconv.Atoi(uploadedRow.FindStringSubmatch(e.Record)[1])
	if index >= count {
		return err
	}
	renamed := *e
	renamed.Record = strings.Replace(e.Record, name, fieldOf(index), 1)
	renamed.Text = strings.ReplaceAll(e.Text, name, fieldOf(index))
	return &renamed
}
