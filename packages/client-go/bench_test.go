package bolthole_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bolthole/bolthole-go"
)

// BenchmarkTurn applies boundaries that append a message to a document of the given length, beside 100 input rows of which one changes.
// It reports the median of the calls alone.
func BenchmarkTurn(b *testing.B) {
	for _, length := range []int{10 << 10, 1 << 20, 10 << 20} {
		b.Run(fmt.Sprintf("%d KiB", length>>10), func(b *testing.B) {
			d := startDaemon(b)
			store, ctx := d.connect(), testContext(b)
			document := makeText(0, length/60)
			rows := manyRows(0, 100)
			var calls []time.Duration
			for sequence := range b.N + 1 {
				document = append(bytes.Clone(document), "one more message of a usual length"...)
				rows[sequence%100].RecoveryCount++
				whole := bolthole.Opaque(document)
				boundary := bolthole.Boundary{Document: whole, Receipt: receiptOf(uint64(sequence)), Inputs: rows}
				start := time.Now()
				must(store.AtomicApply(ctx, "rt", boundary))(b)
				calls = append(calls, time.Since(start))
			}
			// The first call sends everything.
			first, calls := calls[0], calls[1:]
			slices.Sort(calls)
			b.ReportMetric(float64(first.Microseconds())/1000, "ms/first")
			b.ReportMetric(float64(calls[len(calls)/2].Microseconds())/1000, "ms/median")
		})
	}
}
