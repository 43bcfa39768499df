package bolthole

import "bytes"

const (
	firstStep = 64
	// maxStep: longer comparisons are not faster.
	maxStep = 64 * kib
)

// commonAfter returns how many bytes are equal from aAt and bAt on. At most limit, which must be within both.
func commonAfter(a []byte, aAt int, b []byte, bAt int, limit int) int {
	return commonLength(limit, func(from, length int) bool {
		return bytes.Equal(a[aAt+from:aAt+from+length], b[bAt+from:bAt+from+length])
	})
}

// commonBefore returns how many bytes are equal before aEnd and bEnd. At most limit, which must be within both.
func commonBefore(a []byte, aEnd int, b []byte, bEnd int, limit int) int {
	return commonLength(limit, func(from, length int) bool {
		return bytes.Equal(a[aEnd-from-length:aEnd-from], b[bEnd-from-length:bEnd-from])
	})
}

// commonLength compares in steps that double, so that short ranges are cheap and long ones are compared at the speed of memory.
func commonLength(limit int, isEqual func(from, length int) bool) int {
	equal, step := 0, firstStep
	for equal < limit {
		length := min(step, limit-equal)
		if !isEqual(equal, length) {
			return firstDifference(equal, length, isEqual)
		}
		equal += length
		step = min(step*2, maxStep)
	}
	return equal
}

// firstDifference returns the distance of the first difference, by bisection. The bytes at distance from must differ.
func firstDifference(from, length int, isEqual func(from, length int) bool) int {
	equal, different := from, from+length
	for different-equal > 1 {
		middle := (equal + different) / 2
		if isEqual(equal, middle-equal) {
			equal = middle
		} else {
			different = middle
		}
	}
	return equal
}
