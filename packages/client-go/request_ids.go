package bolthole

import (
	"crypto/rand"
	"encoding/hex"
	"math"
	"sync"
	"time"
)

const (
	// maxLagMS: a client whose clock is further behind the store time than this uses the store time, so that its outcomes are
	// kept longer.
	maxLagMS = 30_000
	// correctionMS is a change of the difference between the two clocks that means a correction of the wall clock.
	correctionMS = 60_000
)

// clientClock has the clocks of a client, in milliseconds.
type clientClock interface {
	// wall returns the time since the Unix epoch. It may jump.
	wall() int64
	// monotonic returns a time that never jumps.
	monotonic() int64
}

type systemClock struct{ start time.Time }

func (c systemClock) wall() int64      { return time.Now().UnixMilli() }
func (c systemClock) monotonic() int64 { return time.Since(c.start).Milliseconds() }

// storeTime is the store time as the client learned it, while the client's own clock differs too much from it.
type storeTime struct {
	timeMS, learnedAtMS int64
	// clockOffsetMS is the difference between the client's clocks. It changes when the wall clock is corrected.
	clockOffsetMS int64
}

// requestIDs makes the request ids of one connection: UUIDv7s with times that the store accepts (docs/errors.md, times of
// request ids; contract 12.3). The time is that of the client's clock, but at least the horizon. When the store reported times
// that do not fit the client's clock, the time is the store's, until the client's clock is corrected.
type requestIDs struct {
	clock clientClock

	mu        sync.Mutex
	horizonMS int64
	store     *storeTime
}

func newRequestIDs(clock clientClock) *requestIDs { return &requestIDs{clock: clock} }

// learn takes note of the times that the store reported, at the beginning or with a refusal.
func (ids *requestIDs) learn(times RequestIDTimes) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	now, monotonic := ids.clock.wall(), ids.clock.monotonic()
	horizon, store, latest := clampMS(times.HorizonMS), clampMS(times.StoreTimeMS), clampMS(times.LatestMS)
	// An operator may have set a lower horizon. Ids at the old one may then be too far ahead.
	if ids.horizonMS > latest || horizon > ids.horizonMS {
		ids.horizonMS = horizon
	}
	ids.store = nil
	if now > latest || now < store-maxLagMS {
		ids.store = &storeTime{timeMS: store, learnedAtMS: monotonic, clockOffsetMS: now - monotonic}
	}
}

// next returns a new request id.
func (ids *requestIDs) next() string {
	ids.mu.Lock()
	ms := max(ids.presentMS(), ids.horizonMS)
	ids.mu.Unlock()
	return newUUIDv7(ms)
}

func (ids *requestIDs) presentMS() int64 {
	now := ids.clock.wall()
	if ids.store == nil {
		return now
	}
	monotonic := ids.clock.monotonic()
	moved := now - monotonic - ids.store.clockOffsetMS
	if moved > correctionMS || moved < -correctionMS {
		return now
	}
	return ids.store.timeMS + monotonic - ids.store.learnedAtMS
}

// maxUUIDTimeMS is the largest time of the 48 bits of a UUIDv7.
const maxUUIDTimeMS = 1<<48 - 1

func clampMS(ms uint64) int64 { return int64(min(ms, math.MaxInt64)) }

// newUUIDv7 returns a UUIDv7 with a time in milliseconds since the Unix epoch and 74 random bits.
func newUUIDv7(ms int64) string {
	ms = min(max(ms, 0), maxUUIDTimeMS)
	var id [16]byte
	// Never fails: crypto/rand ends the program when the system has no random bytes.
	_, _ = rand.Read(id[6:])
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	digits := hex.EncodeToString(id[:])
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}
