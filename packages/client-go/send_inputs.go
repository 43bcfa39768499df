package bolthole

import (
	"context"
	"strconv"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// sentRows are the input rows of a request as they are sent. With an upload, rows is empty.
type sentRows struct {
	rows     []*pb.StoredInputState
	uploadID *string
	// requestID is set in place of the one of the call unless it is empty.
	requestID string
	unchanged *pb.UnchangedInputs
}

// committedRows is the response of a mutation that may write input rows.
type committedRows interface {
	GetVersion() string
	GetKeptInputs() []*pb.KeptInput
	GetInputs() *pb.InputsVersions
}

// inputCall is a mutation with input rows.
type inputCall struct {
	runtimeID string
	// requestID is the caller's own, or empty.
	requestID string
	rows      []*pb.StoredInputState
	// field is the name of the rows in the request.
	field  string
	commit func(sentRows) (committedRows, error)
}

// sendInputs sends the input rows that are not cached in the same form. It sends all rows when the cache turns out to be out of date.
// Rows that are too many or too long for one request are uploaded first. It returns the rows that were not written.
func (c *client) sendInputs(ctx context.Context, call inputCall) ([]*pb.KeptInput, error) {
	d := c.deltas
	earlier := d.retries.formOf(call.requestID)
	maySplit := call.requestID == "" || earlier.omitted != nil
	if maySplit && len(call.rows) <= max(d.rowLimits.batchRows, d.rowLimits.uploadRows) {
		var out outgoingRows
		if earlier.omitted != nil {
			out = d.rows.splitBy(call.rows, earlier.omitted, earlier.inputsVersion)
		} else {
			out = d.rows.split(call.runtimeID, call.rows)
		}
		kept, err := c.attemptInputs(ctx, call, out)
		// In the second case, a sent row is not valid: all rows are sent too, because the error must name the row by its index among
		// all rows.
		if out.inputsVersion == "" || !isRefused(err, ErrInputNotCurrent, inputField) {
			return kept, err
		}
		d.rows.forget(call.runtimeID)
	}
	return c.attemptInputs(ctx, call, d.rows.splitBy(call.rows, nil, ""))
}

func (c *client) attemptInputs(ctx context.Context, call inputCall, out outgoingRows) ([]*pb.KeptInput, error) {
	response, err := c.sendRowsOnce(ctx, call, out)
	if err != nil {
		c.deltas.retries.record(err, func(f *requestForm) {
			f.omitted, f.inputsVersion = nil, ""
			if len(out.omitted) > 0 {
				f.omitted, f.inputsVersion = rowsOf(out.omitted), out.inputsVersion
			}
		})
		return nil, err
	}
	c.deltas.retries.forget(call.requestID)
	kept := make(map[string]Version, len(response.GetKeptInputs()))
	for _, row := range response.GetKeptInputs() {
		kept[row.GetInputId()] = Version(row.GetVersion())
	}
	c.deltas.rows.update(call.runtimeID, response.GetInputs(), out, func(id string) Version {
		if version, ok := kept[id]; ok {
			return version
		}
		return Version(response.GetVersion())
	})
	return keptRows(response, out, kept), nil
}

func (c *client) sendRowsOnce(ctx context.Context, call inputCall, out outgoingRows) (committedRows, error) {
	var unchanged *pb.UnchangedInputs
	if out.inputsVersion != "" {
		unchanged = &pb.UnchangedInputs{InputsVersion: string(out.inputsVersion)}
	}
	if !c.deltas.rowLimits.needUpload(out.sent) {
		return call.commit(sentRows{rows: out.sent, unchanged: unchanged})
	}
	var response committedRows
	err := c.commitUploaded(ctx, uploadedChange{
		runtimeID: call.runtimeID, requestID: call.requestID, rows: out.sent, field: call.field, limits: c.deltas.rowLimits,
		fieldOf: func(index int) string { return call.field + "[" + strconv.Itoa(index) + "]" },
		commit: func(uploadID, requestID string) error {
			var err error
			response, err = call.commit(sentRows{uploadID: &uploadID, requestID: requestID, unchanged: unchanged})
			return err
		},
	})
	return response, err
}

// keptRows returns the kept rows of the same request with all rows sent.
func keptRows(response committedRows, out outgoingRows, kept map[string]Version) []*pb.KeptInput {
	if len(out.omitted) == 0 {
		return response.GetKeptInputs()
	}
	// The replayed response of a store of before version 0.2 does not say which rows were kept.
	if response.GetInputs() == nil {
		return nil
	}
	all := make([]*pb.KeptInput, 0, len(out.cached))
	next := 0
	for _, row := range out.cached {
		if row != nil {
			all = append(all, &pb.KeptInput{InputId: row.state.GetInputId(), Version: string(row.version)})
			continue
		}
		id := out.sent[next].GetInputId()
		next++
		if version, ok := kept[id]; ok {
			all = append(all, &pb.KeptInput{InputId: id, Version: string(version)})
		}
	}
	return all
}
