package bolthole

import (
	"regexp"
	"sync"

	"google.golang.org/protobuf/proto"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// inputRowCache has the input rows that this client has sent or loaded, as private copies.
//
// The rule: a response says which version all rows had before the commit and after it. After the commit, every row of the request is
// stored in the form that the caller gave, sent or omitted. When the version before is the cached one, the other cached rows hold at
// the version after it too. Otherwise another client wrote in between, and only the rows of the request are known.
type inputRowCache struct {
	maxBytes int64

	mu       sync.Mutex
	runtimes *byteBudget[*runtimeRows]
}

// runtimeRows: when all input rows of the runtime together had version, each of rows was stored in this form. This stays true after
// other writes, because no version is used twice. The runtime may have more rows than these. The entry can be used while version is
// current, and the daemon checks that.
type runtimeRows struct {
	version Version
	rows    *cachedRows
}

// outgoingRows are the input rows of one request, divided into rows to send and rows that the store already has.
type outgoingRows struct {
	sent []*pb.StoredInputState
	// inputsVersion is the version at which the store has the omitted rows. Empty when no row is omitted.
	inputsVersion Version
	omitted       []*cachedRow
	// cached has for each row of the request the cached row, if the row is stored in this form.
	cached []*cachedRow
	// copies are those of the sent rows. Nil: these rows cannot be cached.
	copies []*cachedRow
}

func newInputRowCache(maxBytes int64) *inputRowCache {
	return &inputRowCache{maxBytes: maxBytes, runtimes: newByteBudget[*runtimeRows](maxBytes, 0)}
}

func (c *inputRowCache) forget(runtimeID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runtimes.remove(runtimeID)
}

// split omits the rows that the cache has in the same form.
func (c *inputRowCache) split(runtimeID string, rows []*pb.StoredInputState) outgoingRows {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.runtimes.get(runtimeID)
	if !ok {
		return c.splitBy(rows, nil, "")
	}
	return c.splitBy(rows, known.rows, known.version)
}

// splitBy omits the rows that stored has in the same form, to make an earlier request again.
func (c *inputRowCache) splitBy(rows []*pb.StoredInputState, stored *cachedRows, version Version) outgoingRows {
	out := outgoingRows{sent: rows, cached: make([]*cachedRow, len(rows))}
	if stored != nil {
		out.cached, out.sent = stored.compare(rows)
	}
	for _, row := range out.cached {
		if row != nil {
			out.omitted = append(out.omitted, row)
		}
	}
	if len(out.omitted) > 0 {
		out.inputsVersion = version
	}
	out.copies = c.copyRows(out.sent)
	return out
}

// copyRows returns nil when these rows cannot be cached.
func (c *inputRowCache) copyRows(rows []*pb.StoredInputState) []*cachedRow {
	if c.maxBytes == 0 || !areDistinct(rows) {
		return nil
	}
	copies := make([]*cachedRow, len(rows))
	for i, row := range rows {
		copies[i] = copyRow(row, "")
	}
	return copies
}

// update takes note of a commit. versionOf returns the version of a sent row.
func (c *inputRowCache) update(runtimeID string, inputs *pb.InputsVersions, out outgoingRows, versionOf func(string) Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A replayed response has the versions of the first one. The rows may have changed since then; the daemon then refuses the
	// version. It has no inputs if its outcome was stored before outcomes kept them.
	if inputs == nil || out.copies == nil {
		c.runtimes.remove(runtimeID)
		return
	}
	rows := rowsOf(out.omitted)
	if known, ok := c.runtimes.peek(runtimeID); ok && string(known.version) == inputs.GetBefore() {
		rows = known.rows
	}
	for _, row := range out.copies {
		row.version = versionOf(row.state.GetInputId())
		rows.put(row)
	}
	c.runtimes.set(runtimeID, &runtimeRows{Version(inputs.GetAfter()), rows}, rows.bytes+1)
}

// version returns the version of the cached rows of a runtime, or "".
func (c *inputRowCache) version(runtimeID string) Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.runtimes.peek(runtimeID); ok {
		return known.version
	}
	return ""
}

// putLoaded holds loaded rows, unless the runtime's entry changed during the load.
func (c *inputRowCache) putLoaded(runtimeID string, before, version Version, rows *cachedRows) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.runtimes.peek(runtimeID)
	if (ok && known.version == before) || (!ok && before == "") {
		c.runtimes.set(runtimeID, &runtimeRows{version, rows}, rows.bytes+1)
	}
}

// cachedRow is a private copy of a row: the caller may change its own row after the call.
type cachedRow struct {
	state   *pb.StoredInputState
	version Version
	bytes   int64
}

// Estimates of the size of a copy: without its texts of unlimited length, and of one entry of a list.
const (
	copyBytes  = 1024
	entryBytes = 128
)

func copyRow(row *pb.StoredInputState, version Version) *cachedRow {
	bytes := copyBytes + proto.Size(row) + entryBytes*(len(row.GetHistory())+
		len(row.GetReconstructionSource().GetCoalescing().GetSourceInputIds()))
	return &cachedRow{proto.Clone(row).(*pb.StoredInputState), version, int64(bytes)}
}

// cachedRows has rows with different ids. A caller passes all its rows at each boundary in the same order, so compare expects this
// order.
type cachedRows struct {
	bytes   int64
	rows    []*cachedRow
	indexes map[string]int
}

func rowsOf(rows []*cachedRow) *cachedRows {
	c := &cachedRows{indexes: make(map[string]int, len(rows))}
	for _, row := range rows {
		c.put(row)
	}
	return c
}

// put adds a row, or replaces the row with the same id.
func (c *cachedRows) put(row *cachedRow) {
	id := row.state.GetInputId()
	c.bytes += row.bytes
	if index, ok := c.indexes[id]; ok {
		c.bytes -= c.rows[index].bytes
		c.rows[index] = row
		return
	}
	c.indexes[id] = len(c.rows)
	c.rows = append(c.rows, row)
}

// compare finds the rows that are stored in this form, and returns for each row of the request the cached row or nil, and the other
// rows. It finds none when two rows have the same id.
func (c *cachedRows) compare(rows []*pb.StoredInputState) (cached []*cachedRow, sent []*pb.StoredInputState) {
	cached = make([]*cachedRow, len(rows))
	next, isRising := 0, true
	for i, row := range rows {
		index, ok := next, next < len(c.rows) && c.rows[next].state.GetInputId() == row.GetInputId()
		if !ok {
			index, ok = c.indexes[row.GetInputId()]
		}
		if ok {
			// Indexes that only rise prove that no id was repeated, without a set of all ids.
			isRising = isRising && index >= next
			next = index + 1
		}
		if ok && isSameRow(c.rows[index].state, row) {
			cached[i] = c.rows[index]
		} else {
			sent = append(sent, row)
		}
	}
	if areDistinct(sent) && (isRising || areIDsDistinct(rows)) {
		return cached, sent
	}
	return make([]*cachedRow, len(rows)), rows
}

// canonicalID is the spelling in which the store returns ids. Two ids in other spellings may be the same id.
var canonicalID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// areDistinct says whether no two rows have the same id. If two have, the store keeps the last one, so all rows must be sent.
func areDistinct(rows []*pb.StoredInputState) bool {
	for _, row := range rows {
		if !canonicalID.MatchString(row.GetInputId()) {
			return false
		}
	}
	return areIDsDistinct(rows)
}

func areIDsDistinct(rows []*pb.StoredInputState) bool {
	seen := make(map[string]struct{}, len(rows))
	for _, row := range rows {
		seen[row.GetInputId()] = struct{}{}
	}
	return len(seen) == len(rows)
}
