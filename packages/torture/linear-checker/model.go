package main

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// ModelOf returns the model of a partition with the given first state.
//
// The conditions of a write depend on the record:
//   - input rows and the operation snapshot: none; a write replaces the record;
//   - the lifecycle record: none; later writes may expect its fence token;
//   - the session snapshot and the OAuth value: the version, in a compare-and-set;
//   - receipts: no receipt with that key may exist.
//
// One write may change several records: it changes all of them at one time, or none. The deletion of a runtime sets every
// record that a runtime can have to nil.
func ModelOf(init State) porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return init },
		Step: func(state, input, _ interface{}) (bool, interface{}) {
			return step(state.(State), input.(*Line))
		},
		Equal:             func(a, b interface{}) bool { return a.(State).equal(b.(State)) },
		Hash:              func(state interface{}) uint64 { return state.(State).hash() },
		DescribeOperation: func(input, _ interface{}) string { return describe(input.(*Line)) },
		DescribeState:     func(state interface{}) string { return fmt.Sprint(state.(State)) },
	}
}

func step(state State, line *Line) (bool, State) {
	switch line.Kind {
	case "read":
		return isSeen(state, line.Record, line.Seen), state
	case "list":
		return areSeen(state, line.Rows), state
	default:
		return write(state, line)
	}
}

func write(state State, line *Line) (bool, State) {
	switch line.Result {
	case "ok":
		return isFenced(state, line) && areAsExpected(state, line.Versions) && isCurrent(state, line) && isNew(state, line),
			written(state, line)
	case "missed":
		return isFenced(state, line) && areAsExpected(state, line.Versions) && !isCurrent(state, line), state
	case "FENCE_CONFLICT":
		return !isFenced(state, line), state
	case "VERSION_CONFLICT":
		return !areAsExpected(state, line.Versions), state
	case "RECEIPT_EXISTS":
		return !isNew(state, line), state
	case "":
		// The outcome is unknown. The write is applied if its conditions hold. An operation that was never applied is
		// explained by an order in which it is the last one.
		if isFenced(state, line) && areAsExpected(state, line.Versions) && isCurrent(state, line) && isNew(state, line) {
			return true, written(state, line)
		}
		return true, state
	default:
		return false, state
	}
}

func written(state State, line *Line) State {
	next := state
	for record, digest := range line.Sets {
		if digest == nil {
			next = next.with(record, nil)
			continue
		}
		cell := Cell{Digest: *digest, Version: line.Version}
		if record == "lifecycle" {
			cell.Fence = line.NewFence
		}
		next = next.with(record, &cell)
	}
	return next
}

func isFenced(state State, line *Line) bool {
	if line.Fence == nil {
		return true
	}
	record, isThere := state["lifecycle"]
	return isThere && record.Fence == *line.Fence
}

func areAsExpected(state State, versions []Expected) bool {
	for _, expected := range versions {
		if !isAt(state, expected) {
			return false
		}
	}
	return true
}

func isCurrent(state State, line *Line) bool {
	return line.IfCurrent == nil || isAt(state, *line.IfCurrent)
}

func isAt(state State, expected Expected) bool {
	cell, isThere := state[expected.Record]
	if expected.Version == nil {
		return !isThere
	}
	return isThere && cell.Version == *expected.Version
}

func isNew(state State, line *Line) bool {
	for _, record := range line.Inserts {
		if _, isThere := state[record]; isThere {
			return false
		}
	}
	return true
}

func isSeen(state State, record string, seen *Cell) bool {
	cell, isThere := state[record]
	if seen == nil {
		return !isThere
	}
	return isThere && cell.Digest == seen.Digest && cell.Version == seen.Version
}

func areSeen(state State, rows map[string]Cell) bool {
	count := 0
	for record := range state {
		if strings.HasPrefix(record, "input ") {
			count++
		}
	}
	if count != len(rows) {
		return false
	}
	for record, cell := range rows {
		if !isSeen(state, record, &cell) {
			return false
		}
	}
	return true
}

func describe(line *Line) string {
	switch line.Kind {
	case "read":
		if line.Seen == nil {
			return line.Record + " -> none"
		}
		return fmt.Sprintf("%s -> %s at %s", line.Record, line.Seen.Digest, line.Seen.Version)
	case "list":
		return fmt.Sprintf("list -> %d rows", len(line.Rows))
	default:
		records := make([]string, 0, len(line.Sets))
		for record := range line.Sets {
			records = append(records, record)
		}
		result := line.Result
		if result == "" {
			result = "no response"
		}
		return fmt.Sprintf("write %s -> %s %s", strings.Join(records, ", "), result, line.Version)
	}
}
